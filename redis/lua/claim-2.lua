-- Takes a turn's log for an epoch and reads it.
-- KEYS[1] log  KEYS[2] meta
-- ARGV[1] epoch  [2] number of an entry that must be there, 0 for none
-- returns {'missing'} | {'fenced'} | {'short'} | {'ok', cancelled 0|1, ended 0|1, entries}
local meta = redis.call('HMGET', KEYS[2], 'epoch', 'status', 'cancel')
if not meta[1] or redis.call('EXISTS', KEYS[1]) == 0 then return {'missing'} end
if tonumber(ARGV[1]) < tonumber(meta[1]) then return {'fenced'} end
local entries = redis.call('XRANGE', KEYS[1], '-', '+')
local last = #entries > 0 and tonumber(string.match(entries[#entries][1], '^%d+')) or 0
if last < tonumber(ARGV[2]) then return {'short'} end
redis.call('HSET', KEYS[2], 'epoch', ARGV[1])
return {'ok', meta[3] and 1 or 0, meta[2] == 'ended' and 1 or 0, entries}
