import { utimes } from 'node:fs'

/** How often what this process holds is touched, milliseconds. */
const BEAT_MS = 15_000

const held = new Set<string>()
let timer: NodeJS.Timeout | undefined

/**
 * Touches a file or folder every 15 s until `stop` is called or this process ends: other hosts and containers, which cannot see this
 * process, tell by its modification time that its holder is alive.
 */
export function keepTouched(path: string): { readonly stop: () => void } {
  held.add(path)
  timer ??= setInterval(touchAll, BEAT_MS).unref()
  return {
    stop: () => {
      held.delete(path)
      if (held.size > 0) return
      clearInterval(timer)
      timer = undefined
    },
  }
}

function touchAll(): void {
  const now = new Date()
  // A file that somebody has removed needs no touch.
  for (const path of held) utimes(path, now, now, () => {})
}
