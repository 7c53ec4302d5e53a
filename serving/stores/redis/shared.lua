-- The second part of the library, which goes on from `people.lua`: what is of everybody, under one tag.
--
--   :meta, :items, :item_revisions, :creators, :creator_revisions, :controllers, :audit,
--   :reviews, :open_reviews, :last_reviews, :exposure, :totals, :feed (events of everybody), :applied (by outbox)

local function note(tag, at, who, what)
  local place = redis.call('HINCRBY', tag .. ':meta', 'audit', 1)
  redis.call('XADD', tag .. ':audit', place .. '-0', 'a', at, 'w', who, 'x', what)
end

-- how many entries of the audit log, then three values of each; the number of the next argument
local function note_all(tag, args, n)
  local last = n + 3 * tonumber(args[n])
  for place = n + 1, last, 3 do note(tag, args[place], args[place + 1], args[place + 2]) end
  return last + 1
end

-- expected revision, token, at, newest raise, last number, source ('=' stays, '-' none, '+' and its name), is it a
-- revision, audit; then kind, id, revision, value of each row
local function publish(keys, args)
  local tag, meta = keys[1], keys[1] .. ':meta'
  local revision = redis.call('HGET', meta, 'revision') or '0'
  if redis.call('HGET', meta, 'token') == args[2] then
    redis.call('HSET', meta, 'token', args[2])  -- WAIT waits for what this connection wrote, so it must write
    return {'ok', revision}
  end
  if revision ~= args[1] then return {'no'} end
  redis.call('HSET', meta, 'token', args[2])
  local mark = string.sub(args[6], 1, 1)
  if mark == '-' then redis.call('HDEL', meta, 'source') end
  if mark == '+' then redis.call('HSET', meta, 'source', string.sub(args[6], 2)) end
  local n = 8
  if args[7] == '1' then
    redis.call('HSET', meta, 'revision', tonumber(args[1]) + 1, 'newest_raise', args[4], 'last_no', args[5])
    commit(tag, args[3])
    n = note_all(tag, args, 8)
    for row = n, #args, 4 do
      redis.call('HSET', tag .. ':' .. args[row] .. 's', args[row + 1], args[row + 3])
      redis.call('ZADD', tag .. ':' .. args[row] .. '_revisions', args[row + 2], args[row + 1])
    end
  end
  return {'ok', redis.call('HGET', meta, 'revision') or '0'}
end

-- name, former value ('' = none), value
local function replace(keys, args)
  local before = redis.call('HGET', keys[1] .. ':controllers', args[1]) or ''
  if before ~= args[2] and before ~= args[3] then return 0 end  -- the last: sent again after its answer was lost
  redis.call('HSET', keys[1] .. ':controllers', args[1], args[3])
  return 1
end

-- token, entries of the audit log
local function log(keys, args)
  local meta = keys[1] .. ':meta'
  local before = redis.call('HGET', meta, 'log_token')
  redis.call('HSET', meta, 'log_token', args[1])  -- also where it is sent again: WAIT waits for what was written
  if before ~= args[1] then
    note_all(keys[1], args, 2)
  end
  return 1
end

-- item, review without its number
local function ask(keys, args)
  local tag, seq = keys[1], redis.call('HGET', keys[1] .. ':open_reviews', args[1])
  if not seq then
    seq = redis.call('HINCRBY', tag .. ':meta', 'review', 1)
    redis.call('HSET', tag .. ':open_reviews', args[1], seq)
    redis.call('HSET', tag .. ':last_reviews', args[1], seq)
    redis.call('HSET', tag .. ':reviews', seq, args[2])
  end
  return {tostring(seq), redis.call('HGET', tag .. ':reviews', seq)}
end

-- item, number, review as answered, audit
local function answer(keys, args)
  local tag = keys[1]
  if redis.call('HGET', tag .. ':open_reviews', args[1]) ~= args[2] then
    return redis.call('HGET', tag .. ':reviews', args[2]) == args[3] and 1 or 0
  end
  redis.call('HDEL', tag .. ':open_reviews', args[1])
  redis.call('HSET', tag .. ':reviews', args[2], args[3])
  note_all(tag, args, 4)
  return 1
end

-- Entries of outboxes, in order: tag, id in two numbers, kind; 'p' with a number of counts and pairs, 'e' with owner,
-- event, time of receipt, 'a' with three values. Each is counted once, however often it comes.
local function gather(keys, args)
  local tag, n = keys[1], 1
  local before, latest = {}, {}
  local function is_new(outbox, ms, seq)
    if before[outbox] == nil then
      before[outbox] = redis.call('HGET', tag .. ':applied', outbox) or '0-0'
      latest[outbox] = before[outbox]
    end
    local function is_above(id)
      local a, b = string.match(id, '^(%d+)-(%d+)$')
      return tonumber(ms) > tonumber(a) or (ms == a and tonumber(seq) > tonumber(b))
    end
    if is_above(latest[outbox]) then latest[outbox] = ms .. '-' .. seq end
    return is_above(before[outbox])
  end
  while n <= #args do
    local fresh, kind = is_new(args[n], args[n + 1], args[n + 2]), args[n + 3]
    n = n + 4
    if kind == 'p' then
      local last = n + 3 * tonumber(args[n])
      for place = n + 1, fresh and last or n, 3 do
        redis.call('HINCRBY', tag .. ':exposure', args[place], args[place + 2])
        redis.call('HINCRBY', tag .. ':totals', args[place + 1], args[place + 2])
      end
      n = last + 1
    else
      if fresh and kind == 'a' then note(tag, args[n], args[n + 1], args[n + 2]) end
      if fresh and kind == 'e' then
        local place = redis.call('HINCRBY', tag .. ':meta', 'place', 1)
        redis.call('XADD', tag .. ':feed', place .. '-0', 'o', args[n], 'q', args[n + 1], 'r', args[n + 2])
      end
      n = n + 3
    end
  end
  for outbox, id in pairs(latest) do redis.call('HSET', tag .. ':applied', outbox, id) end
  return 1
end

local AT_ONCE = 1000  -- entries in one step of a pruning: meanwhile the server does nothing else

-- audit, events: what is older goes, some of each. Returns how much of the audit log, and whether that is all
local function prune_logs(keys, args)
  local tag, audit, last, n = keys[1], 0, nil, 0
  for _, entry in ipairs(redis.call('XRANGE', tag .. ':audit', '-', '+', 'COUNT', AT_ONCE)) do
    if tonumber(field(entry, 'a')) < tonumber(args[1]) then
      audit = audit + redis.call('XDEL', tag .. ':audit', entry[1])
    end
  end
  for _, entry in ipairs(redis.call('XRANGE', tag .. ':feed', '-', '+', 'COUNT', AT_ONCE)) do
    if tonumber(field(entry, 'r')) >= tonumber(args[2]) then break end
    last, n = entry[1], n + 1
  end
  if last then redis.call('XTRIM', tag .. ':feed', 'MINID', '=', (string.gsub(last, '-0$', '-1'))) end
  return {audit, (audit < AT_ONCE and n < AT_ONCE) and 1 or 0}
end

-- time, cursor: answered reviews that are older go, some of them. Returns how many, and the next cursor
local function prune_reviews(keys, args)
  local tag, deleted = keys[1], 0
  local cursor, some = unpack(redis.call('HSCAN', tag .. ':reviews', args[2], 'COUNT', AT_ONCE))
  for n = 1, #some, 2 do
    local review = cjson.decode(some[n + 1])
    if type(review.answered_at) == 'number' and review.answered_at < tonumber(args[1]) then
      deleted = deleted + redis.call('HDEL', tag .. ':reviews', some[n])
      if redis.call('HGET', tag .. ':last_reviews', review.item_id) == some[n] then
        redis.call('HDEL', tag .. ':last_reviews', review.item_id)
      end
    end
  end
  return {deleted, cursor}
end

-- the first day apart, cursor: counts of earlier days are joined, some of them. Returns how many, and the next cursor
local function join_exposure(keys, args)
  local name, joined = keys[1] .. ':exposure', 0
  local cursor, some = unpack(redis.call('HSCAN', name, args[2], 'COUNT', AT_ONCE))
  for n = 1, #some, 2 do
    local key = cjson.decode(some[n])
    if key[1] > 0 and key[1] < tonumber(args[1]) and redis.call('HDEL', name, some[n]) == 1 then
      redis.call('HINCRBY', name, (string.gsub(some[n], '^%[%d+', '[0')), some[n + 1])
      joined = joined + 1
    end
  end
  return {joined, cursor}
end

local function renew(keys, args)
  commit(keys[1], args[1])
  local before = redis.call('HGET', keys[1] .. ':meta', 'token')
  redis.call('HSET', keys[1] .. ':meta', 'token', args[2])  -- also where it is sent again
  if before ~= args[2] then
    redis.call('HINCRBY', keys[1] .. ':meta', 'revision', 1)
  end
  return tonumber(redis.call('HGET', keys[1] .. ':meta', 'revision'))
end

redis.register_function('sanad_VERSION_write', write)
redis.register_function('sanad_VERSION_append', append)
redis.register_function('sanad_VERSION_forget', forget)
redis.register_function('sanad_VERSION_set_time', set_time)
redis.register_function('sanad_VERSION_follow', follow)
redis.register_function('sanad_VERSION_doubt', doubt)
redis.register_function('sanad_VERSION_rewritten', rewritten)
redis.register_function('sanad_VERSION_publish', publish)
redis.register_function('sanad_VERSION_replace', replace)
redis.register_function('sanad_VERSION_log', log)
redis.register_function('sanad_VERSION_ask', ask)
redis.register_function('sanad_VERSION_answer', answer)
redis.register_function('sanad_VERSION_renew', renew)

local function also_when_full(name, run)  -- it makes room, or nothing may stop it
  redis.register_function{function_name = 'sanad_VERSION_' .. name, callback = run, flags = {'allow-oom'}}
end
also_when_full('erase', erase)
also_when_full('done', done)
also_when_full('gather', gather)
also_when_full('prune', prune)
also_when_full('prune_stones', prune_stones)
also_when_full('prune_logs', prune_logs)
also_when_full('prune_reviews', prune_reviews)
also_when_full('join_exposure', join_exposure)

local function that_reads(name, run)
  redis.register_function{function_name = 'sanad_VERSION_' .. name, callback = run, flags = {'no-writes'}}
end
that_reads('read', read)
that_reads('take', take)
