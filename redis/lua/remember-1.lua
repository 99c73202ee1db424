-- Remembers a write: moves the mark forward, never back.
-- KEYS[1] mark
-- ARGV[1] timeline, '' when the position is not known: then all that is known is that it was before now  [2] lsn  [3] ttl ms
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
if ARGV[1] == '' or redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'born', now())
end
if ARGV[1] ~= '' then
  local mark = redis.call('HMGET', KEYS[1], 'timeline', 'lsn')
  local timeline, lsn = tonumber(ARGV[1]), tonumber(ARGV[2])
  local known = tonumber(mark[1] or 0)
  if timeline > known or (timeline == known and lsn > tonumber(mark[2] or 0)) then
    redis.call('HSET', KEYS[1], 'timeline', ARGV[1], 'lsn', ARGV[2])
  end
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) / 2 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 'ok'
