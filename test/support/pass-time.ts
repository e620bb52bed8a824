import { onTestFinished, vi } from 'vitest'

/**
 * Stops the monotonic clock and timers of this process until the test ends, and returns what makes both go on by some milliseconds. The
 * time of day, which files are stamped with, runs on.
 */
export function passTime(): (ms: number) => void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  onTestFinished(() => void vi.useRealTimers())
  return (ms) => void vi.advanceTimersByTime(ms)
}
