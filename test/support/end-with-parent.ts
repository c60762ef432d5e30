/*
 * Whoever loads this ends when the process that started it over a channel is gone, however that went: `kill -9` takes
 * nobody along, and of a plain `kill` the processes below hear nothing.
 */
const end = (): never => process.exit(143)

// It may have gone while this was loaded.
if (process.send !== undefined && !process.connected) end()
process.once('disconnect', end)
// What is over by itself does not wait for that.
process.channel?.unref()

export {}
