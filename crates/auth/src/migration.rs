//! What bringing the durable store up to date would do, for whoever looks before the deploy. Never changes anything.

use crate::breaker::Breakers;
use crate::config::Config;
use crate::database;
use crate::server::OpenError;
pub use crate::store::sqlite::{Plan, Step};

/// What `prepare` and every start would do to the schema of the durable store.
pub async fn plan(config: &Config) -> Result<Plan, OpenError> {
    let breakers = Breakers::new(config.breakers);
    let plan = database::plan(&config.database, &breakers.database).await;
    plan.map_err(|source| OpenError::Store {
        place: config.database.place.to_string(),
        source,
    })
}
