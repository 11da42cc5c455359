//! What a shell-less image must still answer: cp and friends.
