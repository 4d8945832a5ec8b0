-- Sends the requests of a file, drawn at random, and writes what came of it as one line of JSON.
-- Usage: wrk … -s wrk.lua URL -- FILE PREFIX
-- The requests are whole, as they go over the wire, separated by a record separator (ASCII 30). In each, the twelve
-- characters "<<counter!>>" become a number that no other request of this run has, behind PREFIX, of four characters.

local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

function init(args)
    math.randomseed(os.time() + number)
    prefix, counter, requests = args[2], 0, {}
    local file = assert(io.open(args[1], "rb"))
    for request in string.gmatch(file:read("*a"), "[^\30]+") do
        requests[#requests + 1] = request
    end
    file:close()
    is_counted = string.find(requests[1], "<<counter!>>", 1, true) ~= nil
end

function request()
    local chosen = requests[math.random(#requests)]
    if not is_counted then
        return chosen
    end
    counter = counter + 1
    return (string.gsub(chosen, "<<counter!>>", string.format("%s%d%07d", prefix, number, counter)))
end

function done(summary, latency, _)
    local errors = summary.errors
    io.write(string.format(
        '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "connect": %d, "read": %d, "write": %d, '
            .. '"status": %d, "timeout": %d}\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        errors.connect, errors.read, errors.write, errors.status, errors.timeout
    ))
end
