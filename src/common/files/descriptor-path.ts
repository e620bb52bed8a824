/** Whether a path can begin at a descriptor: on Linux (proc(5)), which is also the only system with other users for QEMU. */
export const HAS_DESCRIPTOR_PATHS = process.platform === 'linux'

/** Returns a path of what is open: the kernel resolves it to that, whatever has become of its own path. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}

/** Names the file in an error instead of the path by a descriptor, which means nothing to a person. */
export function nameFile(error: NodeJS.ErrnoException, path: string): NodeJS.ErrnoException {
  error.message = error.message.replaceAll(/'\/proc\/self\/fd\/\d+[^']*'/g, () => `'${path}'`)
  return error
}
