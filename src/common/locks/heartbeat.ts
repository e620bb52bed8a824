import { closeSync, constants, ftruncate, openSync } from 'node:fs'
import { promisify } from 'node:util'

/** Interval between touches, in milliseconds. */
const INTERVAL_MS = 15_000

const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } = constants
const FLAGS = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK

export interface Heartbeat {
  stop(): void
}

const held = new Set<() => Promise<void>>()
let timer: NodeJS.Timeout | undefined

/**
 * Calls `touch` every 15 s until `stop` is called or this process ends. Other hosts and containers,
 * which cannot see this process, use the modification time of a file or folder to detect that its
 * holder is alive. `touch` must not use the path, where another user may have put something else.
 */
export function keepTouched(touch: () => Promise<void>): Heartbeat {
  let isTouching = false
  const beat = async () => {
    if (isTouching) return // a hanging file system blocks one thread, not all
    isTouching = true
    await touch().catch(() => {}) // removed, possibly on another host
    isTouching = false
  }
  held.add(beat)
  timer ??= setInterval(beatAll, INTERVAL_MS).unref()
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
 * Creates an empty file, keeps it open, and touches it like {@link keepTouched}. The file system
 * stamps a truncated file with its own clock, which others compare with.
 *
 * @param options.isNew If true, throws if the file exists. @default false
 * @throws {NodeJS.ErrnoException} when the file cannot be created.
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
      // Its number may be reused as soon as it is closed.
      if (touching === undefined) closeSync(file)
      else touching.catch(() => {}).finally(() => closeSync(file))
    },
  }
}

function beatAll(): void {
  for (const beat of held) void beat()
}
