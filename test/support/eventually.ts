import { vi } from 'vitest'

/** Repeats a check until it passes. The limit suits a busy host; a failing test takes that long. */
export function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 60_000, interval: 50 })
}
