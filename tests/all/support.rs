//! What the tests stand on: real PostgreSQL clusters, the real binary, throw-away projects, and eyes for a published directory.

pub mod bucket;
pub mod cdn_api;
pub mod demo_world;
pub mod directory;
pub mod fallback;
pub mod edge;
pub mod frozen;
pub mod frozen_edge;
pub mod http;
pub mod night;
pub mod places;
pub mod postgres;
pub mod process;
pub mod project;
pub mod raw;
pub mod refreshed;
pub mod s3_server;
pub mod script;
pub mod server_log;
pub mod servers;
pub mod serving;
pub mod site;
pub mod skip;
pub mod tcp_front;
pub mod tls_front;
pub mod wait;
