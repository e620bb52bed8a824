import { closeSync, constants, ftruncate, openSync } from 'node:fs'
import { promisify } from 'node:util'

/** How often what this process holds is touched, milliseconds. */
const BEAT_MS = 15_000

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants
const FLAGS = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK

export interface Heartbeat {
  stop(): void
}

const held = new Set<() => Promise<void>>()
let timer: NodeJS.Timeout | undefined

/**
 * Calls `touch` every 15 s until `stop` is called or this process ends: other hosts and containers, which cannot see this process, tell by
 * the modification time of a file or folder that its holder is alive. `touch` must not look for it by its path, at which another user may
 * have put something else.
 */
export function keepTouched(touch: () => Promise<void>): Heartbeat {
  let isTouching = false
  const beat = async () => {
    if (isTouching) return // a file system that does not answer holds up one thread, not all
    isTouching = true
    await touch().catch(() => {}) // removed, perhaps on another host
    isTouching = false
  }
  held.add(beat)
  timer ??= setInterval(beatAll, BEAT_MS).unref()
  return {
    stop: () => {
      held.delete(beat)
      if (held.size > 0) return
      clearInterval(timer)
      timer = undefined
    },
  }
}

/**
 * Makes an empty file and touches it, open as it is, as {@link keepTouched} does. The file system stamps a file that is truncated by its own
 * clock, which others compare with.
 *
 * @param options.isNew If true, throws if the file exists. @default false
 * @throws {NodeJS.ErrnoException} when the file cannot be made.
 */
export function keepFileTouched(path: string, { isNew = false } = {}): Heartbeat {
  const file = openSync(path, isNew ? FLAGS | O_EXCL : FLAGS, 0o600)
  let touching: Promise<void> | undefined
  let isStopped = false
  const heartbeat = keepTouched(() => {
    touching = promisify(ftruncate)(file, 0).finally(() => {
      touching = undefined
    })
    return touching
  })
  return {
    stop: () => {
      if (isStopped) return
      isStopped = true
      heartbeat.stop()
      // Another file may get its number as soon as it is closed.
      if (touching === undefined) closeSync(file)
      else touching.catch(() => {}).finally(() => closeSync(file))
    },
  }
}

function beatAll(): void {
  for (const beat of held) void beat()
}
