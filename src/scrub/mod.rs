//! Removes secrets from text and YAML before they are written anywhere.
