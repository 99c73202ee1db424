-- Reads a mark; one that is not there begins now: whatever was written before is unknown.
-- KEYS[1] mark  ARGV[1] ttl ms
-- returns {age in ms, never more than it is, timeline or '', lsn or ''}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local mark = redis.call('HMGET', KEYS[1], 'born', 'timeline', 'lsn')
if not mark[1] then redis.call('HSET', KEYS[1], 'born', now) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) / 2 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
-- Both times are cut to whole ms.
return { math.max(0, now - tonumber(mark[1] or now) - 1), mark[2] or '', mark[3] or '' }
