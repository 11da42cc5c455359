//! gRPC over HTTP/2 on the node API's port.
