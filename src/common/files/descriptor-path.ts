import { idInProc } from '../locks/process-identity.js'

/**
 * True if paths can start with `/proc/self/fd/N` (proc(5)), which is the case on Linux only. Other
 * systems do not need such paths, because `runAs` is supported on Linux only.
 */
export const HAS_DESCRIPTOR_PATHS = process.platform === 'linux'

/** Returns a path that the kernel resolves to the open file, even if its own path has changed. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/**
 * Returns such a path for other processes, which must not use it after the descriptor was closed.
 */
export function sharedDescriptorPath(fd: number): string {
  return `/proc/${idInProc()}/fd/${fd}`
}

/** Replaces a descriptor path in an error with the path of the file. */
export function nameFile(error: NodeJS.ErrnoException, path: string): NodeJS.ErrnoException {
  error.message = error.message.replaceAll(/'\/proc\/self\/fd\/\d+[^']*'/g, () => `'${path}'`)
  return error
}
