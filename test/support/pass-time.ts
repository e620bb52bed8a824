import { onTestFinished, vi } from 'vitest'

/**
 * Stops the monotonic clock and the timers of this process until the test ends. Returns a function that advances both by some
 * milliseconds. The time of day, which is used for timestamps of files, is not affected.
 */
export function passTime(): (ms: number) => void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  return (ms) => void vi.advanceTimersByTime(ms)
}
