-- Put what was pushed on the screen of a pretend phone. Development only.
--
-- KEYS  1 phone
-- ARGV  1 tag, 2 id of the event, 3 `1`: it takes away what is shown of that event, else `0`, 4 the item as JSON,
--       5 most items kept, 6 ttl (s)
-- An item of the list is `tag \n id \n withdrawn \n json`, newest last; none of the four has a line feed in it.
-- Returns  the number of items
-- Atomic because two pushes of one tag that come together must leave one item.
local head = ARGV[1] .. '\n'
for _, item in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if string.sub(item, 1, #head) == head then
        local id, json = string.match(item, '^[^\n]*\n([^\n]*)\n[01]\n([^\n]*)$')
        if ARGV[3] == '0' then
            redis.call('LREM', KEYS[1], 0, item)
        elseif id == ARGV[2] then
            redis.call('LREM', KEYS[1], 0, item)
            redis.call('RPUSH', KEYS[1], head .. id .. '\n1\n' .. json)
        end
    end
end
if ARGV[3] == '0' then
    redis.call('RPUSH', KEYS[1], head .. ARGV[2] .. '\n0\n' .. ARGV[4])
end
redis.call('LTRIM', KEYS[1], -ARGV[5], -1)
redis.call('EXPIRE', KEYS[1], ARGV[6])
return redis.call('LLEN', KEYS[1])
