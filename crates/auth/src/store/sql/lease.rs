//! Jobs that one instance at a time does. Never guards what must be right: an instance that stalls may come back after
//! its lease, so that whatever must not interleave queues for a lock besides.

use std::time::Duration;

use super::super::StoreResult;
use super::TENANT;
use super::database::Database;
use super::statement::Statement;
use crate::domain::UnixMillis;

const CLAIMING: &str = "taking a job";

pub(super) async fn claim(
    database: &Database,
    name: &str,
    holder: &str,
    ttl: Duration,
    now: UnixMillis,
) -> StoreResult<bool> {
    let mut write = database.write(CLAIMING).await?;
    let claimed = Statement::new(
        CLAIMING,
        "INSERT INTO lease (tenant_id, name, holder, until) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, name) DO UPDATE SET holder = excluded.holder, until = excluded.until
             WHERE lease.until <= $5 OR lease.holder = excluded.holder",
    )
    .bind(TENANT)
    .bind(name)
    .bind(holder)
    .bind(now.plus(ttl).0)
    .bind(now.0)
    .execute(&mut write)
    .await?;
    write.commit().await?;
    Ok(claimed == 1)
}

pub(super) async fn release(database: &Database, name: &str, holder: &str) -> StoreResult<()> {
    let mut write = database.write(CLAIMING).await?;
    Statement::new(
        CLAIMING,
        "DELETE FROM lease WHERE tenant_id = $1 AND name = $2 AND holder = $3",
    )
    .bind(TENANT)
    .bind(name)
    .bind(holder)
    .execute(&mut write)
    .await?;
    write.commit().await
}
