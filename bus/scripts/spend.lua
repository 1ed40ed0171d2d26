-- Take tokens out of a bucket that all processes share, by Redis's clock.
--
-- KEYS  1 allowance
-- ARGV  1 tokens a second, 2 how many there are at most, 3 tokens needed, 4 tokens wanted (at least those needed),
--       5 "1" to take them ahead of their time where they are not there yet
-- Returns  {tokens taken (0: none), milliseconds until those needed are there, milliseconds until the bucket is full,
--          Unix time in milliseconds at which what was taken is there}
-- Atomic because two processes that both found the last token would both take it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each = 1000000 / tonumber(ARGV[1])
local window = tonumber(ARGV[2]) * each
local needed, wanted = tonumber(ARGV[3]), tonumber(ARGV[4])
-- What is kept: when the bucket will be full again (the generic cell rate algorithm), and when that was noted, both in
-- microseconds. A clock that was set back, or that of another server, must not make anyone wait for it to catch up.
local noted_full, noted = string.match(redis.call('GET', KEYS[1]) or '0 0', '^(%d+) (%d+)$')
local full = math.max(tonumber(noted_full or 0) - math.max(0, tonumber(noted or 0) - now), now)
-- A microsecond is forgiven: who waited as long as they were told must not be told to wait again.
local there = math.floor((window - (full - now) + 1) / each)
local taken, wait = 0, math.max(0, full + needed * each - window - now)
if there >= needed then
  taken, wait = math.min(there, wanted), 0
elseif ARGV[5] == '1' then
  taken = needed
end
if taken > 0 then
  full = full + taken * each
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', full, now), 'PX', math.ceil((full - now) / 1000) + 1)
end
return {taken, math.ceil(wait / 1000), math.ceil((full - now) / 1000), math.ceil((now + wait) / 1000)}
