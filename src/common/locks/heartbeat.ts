import { close, constants, open, utimes } from 'node:fs'

/** How often what this process holds is touched, milliseconds. */
const BEAT_MS = 15_000

const held = new Set<string>()
let timer: NodeJS.Timeout | undefined

/**
 * Touches an empty file or a folder every 15 s until `stop` is called or this process ends: other hosts and containers, which cannot see this
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

/** The file system stamps a file that is truncated by its own clock, which others compare with. A folder gets this host's time. */
function touchAll(): void {
  const now = new Date()
  for (const path of held) {
    // A file that somebody has removed needs no touch.
    open(path, constants.O_WRONLY | constants.O_TRUNC | constants.O_NOFOLLOW, (error, descriptor) => {
      if (error?.code === 'EISDIR') utimes(path, now, now, () => {})
      else if (error === null) close(descriptor, () => {})
    })
  }
}
