-- Takes one request and some tokens from a user's buckets, both or neither. Buckets refill evenly; time is Redis's own.
-- KEYS[1] bucket hash (r, t, at: what is left and when)  KEYS[2] reservations hash (turn → tokens:expiry)
-- ARGV[1] turn ('' = only look)  [2] tokens  [3] requests per minute  [4] tokens per minute  [5] reservation ttl ms
-- returns {granted 0|1, requests left, tokens left, ms until it could be granted}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local maxR, maxT = tonumber(ARGV[3]), tonumber(ARGV[4])
local bucket = redis.call('HMGET', KEYS[1], 'r', 't', 'at')
local passed = bucket[3] and math.max(0, now - tonumber(bucket[3])) or 60000
local r = math.min(maxR, (tonumber(bucket[1]) or maxR) + passed * maxR / 60000)
local t = math.min(maxT, (tonumber(bucket[2]) or maxT) + passed * maxT / 60000)
local function reply(granted, wait) return {granted, math.floor(r), math.floor(t), wait} end
if ARGV[1] == '' then return reply(1, 0) end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return reply(1, 0) end
-- Leases that nobody settled come back: their gateway and workflow are gone.
local leases = redis.call('HGETALL', KEYS[2])
for i = 1, #leases, 2 do
  local amount, expiry = string.match(leases[i + 1], '^(%d+):(%d+)$')
  if tonumber(expiry) < now then
    t = math.min(maxT, t + tonumber(amount))
    redis.call('HDEL', KEYS[2], leases[i])
  end
end
local function keep() redis.call('HSET', KEYS[1], 'r', tostring(r), 't', tostring(t), 'at', now) end
local tokens = tonumber(ARGV[2])
-- A turn larger than the whole bucket is admitted when the bucket is full, else it could never run.
local needed = math.min(tokens, maxT)
local wait = math.max(0, (1 - r) * 60000 / maxR, (needed - t) * 60000 / maxT)
if wait > 0 then
  keep()
  return reply(0, math.ceil(wait))
end
r = r - 1
t = t - tokens
keep()
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('HSET', KEYS[2], ARGV[1], tokens .. ':' .. (now + tonumber(ARGV[5])))
redis.call('PEXPIRE', KEYS[2], math.max(3600000, tonumber(ARGV[5]) * 2))
return reply(1, 0)
