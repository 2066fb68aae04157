//! The assembly: flags and configuration become settings, settings become roles, roles become one process. It must not know
//! how a role does its work.

pub mod admin;
pub mod auth;
pub mod commands;
pub mod config;
pub mod connect;
pub mod debug;
pub mod flags;
pub mod health;
pub mod http;
pub mod listeners;
pub mod log;
pub mod members;
pub mod membership;
pub mod node;
pub mod otlp;
pub mod overrides;
pub mod query_log;
pub mod roles;
pub mod services;
pub mod targets;
