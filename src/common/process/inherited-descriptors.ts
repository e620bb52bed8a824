import { openSync, readdirSync, readFileSync } from 'node:fs'
import { toHostError } from '../host-error.js'

/**
 * Flag of a descriptor that is closed when a program is executed (open(2): O_CLOEXEC), as in
 * `/proc/self/fdinfo`.
 */
const CLOSED_ON_EXEC = 0o2000000

/**
 * Descriptors that programs inherit from this process because its parent left them open, and the
 * descriptor of `/dev/null` that covers them. Listed once: Node.js marks all descriptors that it
 * opens as closed on execution, but of those that it inherits only the first 16.
 */
let inherited: Inherited | undefined

interface Inherited {
  readonly descriptors: readonly number[]
  readonly cover: number
}

/**
 * Returns the streams of a program, extended by `/dev/null` in place of every other descriptor that
 * it would inherit.
 *
 * @throws {InfrastructureError} HOST_UNSUITABLE when this process cannot open more files.
 */
export function coverInherited(stdio: readonly unknown[]): readonly unknown[] {
  inherited ??= findInherited()
  const covered = [...stdio]
  for (const descriptor of inherited.descriptors) {
    if (descriptor < stdio.length) continue
    while (covered.length < descriptor) covered.push('ignore')
    covered[descriptor] = inherited.cover
  }
  return covered
}

function findInherited(): Inherited {
  try {
    const descriptors = readdirSync('/proc/self/fd').map(Number).filter(isInherited)
    return { descriptors: descriptors.sort((a, b) => a - b), cover: openSync('/dev/null', 'r+') }
  } catch (error) {
    throw toHostError(error)
  }
}

function isInherited(descriptor: number): boolean {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1')
    const flags = Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '0', 8)
    return (flags & CLOSED_ON_EXEC) === 0
  } catch (error) {
    // The descriptor of the listing itself is closed by now.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
