//! What must happen inside Redis in one piece. Never reads a clock that an instance did not give it.
//!
//! Each is sent by its digest, and in full when Redis does not know it.

use redis::Script;

/// Keys: revocations. Arguments: now, then cut and end of each. An entry is only ever extended. It lasts by the clock
/// its end was told by: that of Redis may be ahead of it, and would let tokens outlive it.
const REVOKE: &str = r"
local now = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local cut, till = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local old = redis.call('GET', key)
  local changed = true
  if old then
    local old_cut, old_till = string.match(old, '^(%-?%d+):(%-?%d+)$')
    if old_cut then
      old_cut, old_till = tonumber(old_cut), tonumber(old_till)
      changed = cut > old_cut or till > old_till
      cut, till = math.max(cut, old_cut), math.max(till, old_till)
    end
  end
  if changed then
    redis.call('SET', key, string.format('%.0f:%.0f', cut, till),
      'PX', string.format('%.0f', math.max(1, till + 30000 - now)))
  end
end
return 0
";

/// Keys: the sign of a copy under way, the marker. Arguments: which Redis was copied to, and what it says of itself. The
/// marker is set if that Redis is this one and has forgotten nothing since the copy began. Returns -1 where it is another.
const FINISH: &str = r"
if redis.call('DEL', KEYS[1]) == 0 then return 0 end
local told = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
for i = 2, #ARGV do
  if not string.find(told, ARGV[i], 1, true) then return -1 end
end
redis.call('SET', KEYS[2], ARGV[1])
return 1
";

/// Key: the version of the permissions. Argument: one that was committed. It never goes back.
const RAISE: &str = r"
local known = tonumber(redis.call('GET', KEYS[1]) or '') or 0
if tonumber(ARGV[1]) > known then redis.call('SET', KEYS[1], ARGV[1]) end
return 0
";

/// Keys: counters. Arguments: now and the window in ms. Returns count and end of each.
const COUNT: &str = r"
local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {}
for i, key in ipairs(KEYS) do
  local count, resets = 0, now + window
  local old = redis.call('GET', key)
  if old then
    local old_count, old_resets = string.match(old, '^(%d+):(%d+)$')
    if old_count and tonumber(old_resets) > now then
      count, resets = tonumber(old_count), tonumber(old_resets)
    end
  end
  count = math.min(count + 1, 4294967295)
  redis.call('SET', key, string.format('%.0f:%.0f', count, resets),
    'PX', string.format('%.0f', math.max(1, resets - now)))
  found[2 * i - 1], found[2 * i] = count, resets
end
return found
";

/// Keys: counters. Arguments: now, then the hits and the end of each.
const ADD: &str = r"
local now = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local count, resets = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local old = redis.call('GET', key)
  if old then
    local old_count, old_resets = string.match(old, '^(%d+):(%d+)$')
    if old_count and tonumber(old_resets) > now then
      count, resets = count + tonumber(old_count), math.max(resets, tonumber(old_resets))
    end
  end
  redis.call('SET', key, string.format('%.0f:%.0f', math.min(count, 4294967295), resets),
    'PX', string.format('%.0f', math.max(1, resets - now)))
end
return 0
";

/// Keys: allowances. Arguments: now, then cost and period of each, in microseconds. Returns whether the request may go
/// on, and when each is full. The arithmetic is that of `Allowance::take`.
const TAKE: &str = r"
local now = tonumber(ARGV[1])
local found, after = { 1 }, {}
for i, key in ipairs(KEYS) do
  local cost, period = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full_at = tonumber(redis.call('GET', key) or now) or now
  found[i + 1] = string.format('%.0f', full_at)
  full_at = math.max(now, math.min(full_at, now + period))
  after[i] = full_at + cost
  if after[i] - now > period then found[1] = 0 end
end
if found[1] == 1 then
  for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', after[i]),
      'PX', string.format('%.0f', math.max(1, math.ceil((after[i] - now) / 1000))))
  end
end
return found
";

/// Keys: allowances. Arguments: now, then the cost of each, in microseconds. What was taken out of them goes back.
const GIVE: &str = r"
local now = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local full_at = (tonumber(redis.call('GET', key) or '') or now) - tonumber(ARGV[i + 1])
  if full_at > now then
    redis.call('SET', key, string.format('%.0f', full_at),
      'PX', string.format('%.0f', math.max(1, math.ceil((full_at - now) / 1000))))
  else
    redis.call('DEL', key)
  end
end
return 0
";

/// Keys: the instance's entry, the index. Arguments: id, entry, its end, its length, now, all in ms.
const HEARTBEAT: &str = r"
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', tonumber(ARGV[5]) - 3600000)
return 0
";

/// Keys: the index. Arguments: now, how many at most, and what an entry's key begins with.
const INSTANCES: &str = r"
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
local found = {}
for _, id in ipairs(ids) do
  local entry = redis.call('GET', ARGV[3] .. id)
  if entry then found[#found + 1] = entry end
end
return found
";

/// Keys: accounts. Arguments: timeline and position, and for how many ms they are remembered. The later of two stays.
const NOTE: &str = r"
for _, key in ipairs(KEYS) do
  local timeline, position = tonumber(ARGV[1]), tonumber(ARGV[2])
  local old_timeline, old_position = string.match(redis.call('GET', key) or '', '^(%d+):(%d+)$')
  if old_timeline then
    old_timeline, old_position = tonumber(old_timeline), tonumber(old_position)
    if old_timeline > timeline or (old_timeline == timeline and old_position > position) then
      timeline, position = old_timeline, old_position
    end
  end
  redis.call('SET', key, string.format('%.0f:%.0f', timeline, position), 'PX', ARGV[3])
end
return 0
";

/// All scripts, their digests computed once.
pub(super) struct Scripts {
    pub(super) revoke: Script,
    pub(super) finish: Script,
    pub(super) raise: Script,
    pub(super) count: Script,
    pub(super) add: Script,
    pub(super) take: Script,
    pub(super) give: Script,
    pub(super) note: Script,
    pub(super) heartbeat: Script,
    pub(super) instances: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            revoke: Script::new(REVOKE),
            finish: Script::new(FINISH),
            raise: Script::new(RAISE),
            count: Script::new(COUNT),
            add: Script::new(ADD),
            take: Script::new(TAKE),
            give: Script::new(GIVE),
            note: Script::new(NOTE),
            heartbeat: Script::new(HEARTBEAT),
            instances: Script::new(INSTANCES),
        }
    }
}
