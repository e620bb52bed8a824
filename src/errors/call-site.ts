import { fileURLToPath } from 'node:url'

/** Stack of a call of a test, which V8 formats only when it is read. */
export interface CallSite {
  readonly stack?: string
  /** Time of the call, in milliseconds. */
  readonly atMs: number
}

/** Maximum number of frames, so that a capture takes microseconds. */
const MAX_FRAMES = 20
/**
 * Maximum number of causes whose stacks are changed. Causes of the test's own errors may be cyclic.
 */
const MAX_CAUSES = 20

/** Captures the frames of the caller of `entry`. */
export function captureCallSite(entry: (...args: never[]) => unknown): CallSite {
  const site = { atMs: performance.now() }
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = MAX_FRAMES
  Error.captureStackTrace(site, entry)
  Error.stackTraceLimit = limit
  return site
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Folders of withvm. Source maps replace the paths below `dist` by those of the sources. */
const OWN_FOLDERS = [ROOT, ROOT.replace(/dist\/$/, '')].flatMap((root) =>
  ['src/', 'fixtures/', 'images/'].map((folder) => root + folder),
)

function isInternal(frame: string): boolean {
  return /[( ]node:/.test(frame) || OWN_FOLDERS.some((folder) => frame.includes(folder))
}

/**
 * Returns the frames of a stack outside of withvm and of Node.js, each on a line. The first one is
 * not in a package, such as a test runner. Empty if there are none.
 */
export function userFrames(stack: string | undefined): string {
  const frames = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line) && !isInternal(line))
  const first = frames.findIndex((line) => !line.includes('/node_modules/'))
  return first < 0 ? '' : frames.slice(first).join('\n')
}

/**
 * Sets the stack of an error to the frames of a call, and removes internal frames from the stacks
 * of its causes. Returns false if the call has no frames.
 */
export function setStack(error: Error, site: CallSite): boolean {
  const frames = userFrames(site.stack)
  if (frames === '') return false
  replaceStack(error, frames)
  let { cause } = error
  for (let count = 0; cause instanceof Error && count < MAX_CAUSES; count++) {
    replaceStack(cause, userFrames(cause.stack))
    ;({ cause } = cause)
  }
  return true
}

/** The stack of a frozen error cannot be replaced. */
function replaceStack(error: Error, frames: string): void {
  if (!Object.isFrozen(error)) error.stack = [describeError(error), frames].filter(Boolean).join('\n')
}

function describeError({ name, message }: Error): string {
  return `${name}: ${message}`
}

/** Returns the file, line and column of the first frame: `test/web.test.ts:12:5`. */
export function formatLocation(site: CallSite): string | undefined {
  const [first = ''] = userFrames(site.stack).split('\n')
  const [, place] = /([^\s(]+:\d+:\d+)\)?$/.exec(first) ?? []
  if (place === undefined) return undefined
  const path = place.replace(/^file:\/\//, '')
  const folder = `${process.cwd()}/`
  return path.startsWith(folder) ? path.slice(folder.length) : path
}
