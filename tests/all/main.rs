//! The one integration-test binary: black-box tests that start the real `tintype` against real databases and directories.

mod support;

mod bad_directory;
mod bad_settings;
mod bad_templates;
mod changed_only;
mod cli;
mod demo;
mod interrupt;
mod keyed_plans;
mod keyed_types;
mod keys;
mod killed;
mod one_pass;
mod pooler;
mod readme;
mod recovery;
mod replicas;
mod republish;
mod rollback;
mod s3_commit;
mod s3_faults;
mod s3_lease;
mod s3_pipeline;
mod s3_publish;
mod s3_tls;
mod same_bytes;
mod selection;
mod shapes;
mod size;
mod statements;
mod store_contract;
mod store_places;
mod support_works;
mod tls;
mod turns;
