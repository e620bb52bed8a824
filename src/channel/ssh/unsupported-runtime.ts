import { type VMError, vmError } from '../../errors.js'

/** Returns the name and the version of this runtime, such as `Node.js 22.21.1`. */
function runtimeName(): string {
  const { bun, node } = process.versions
  return bun === undefined ? `Node.js ${node}` : `Bun ${bun}`
}

/** Error of a runtime that lacks algorithms for SSH. */
export function unsupportedError(got: string, missing: readonly string[], cause: unknown): VMError {
  return vmError('SSH_UNSUPPORTED', {
    summary: `${runtimeName()} lacks algorithms that SSH requires.`,
    expected: missing.join(', '),
    got,
    hint: 'Run the tests with a Node.js from nodejs.org, without FIPS mode.',
    cause,
  })
}
