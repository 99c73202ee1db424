-- Renews a process's lease, forgets its finished tasks, and names one process whose lease has expired.
-- KEYS[1] leases (process → expiry)  KEYS[2] tasks (`<process> <n>` → what it runs)  KEYS[3] time of the last beat of anybody
-- ARGV[1] process, '' for one that only watches  [2] lease ms  [3] longest silence ms that is not Redis's own fault
-- ARGV[4] ttl ms  [5…] fields of tasks to forget
-- returns {1 when the process had no lease, else 0, lost process or '', field, task, field, task …}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[3]) or now)
local lease, ttl = tonumber(ARGV[2]), tonumber(ARGV[4])
if now - last > tonumber(ARGV[3]) then
  -- Redis, or all of the machine, stood still: nobody could renew, so everybody gets a whole lease.
  for _, process in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do redis.call('ZADD', KEYS[1], now + lease, process) end
end
redis.call('SET', KEYS[3], now, 'PX', ttl)
local isNew = ARGV[1] ~= '' and redis.call('ZADD', KEYS[1], now + lease, ARGV[1]) or 0
for i = 5, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
local lost = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
if not lost then return {isNew, ''} end
-- Whoever hears of it first has a lease's time to see to it; then the next one hears.
redis.call('ZADD', KEYS[1], now + lease, lost)
local reply = {isNew, lost}
local tasks = redis.call('HGETALL', KEYS[2])
for i = 1, #tasks, 2 do
  if string.sub(tasks[i], 1, #lost + 1) == lost .. ' ' then
    reply[#reply + 1] = tasks[i]
    reply[#reply + 1] = tasks[i + 1]
  end
end
return reply
