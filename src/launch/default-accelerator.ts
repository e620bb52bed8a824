import { vmError } from '../errors.js'
import { type GuestArch, isNative } from '../spec/architectures.js'
import type { VMOptions } from '../spec/options.js'

type Accel = Exclude<VMOptions['accel'], undefined>

const ACCELERATORS: readonly Accel[] = ['auto', 'kvm', 'tcg']

/**
 * Sets the option `accel`, unless it is given, to the value of WITHVM_ACCEL. `kvm` applies only to
 * guests of the host architecture, because KVM runs no others.
 *
 * @throws {UsageError} INVALID_OPTIONS when WITHVM_ACCEL is invalid.
 */
export function setDefaultAccelerator(
  options: VMOptions,
  arch: GuestArch,
  env: NodeJS.ProcessEnv = process.env,
): VMOptions {
  const text = env.WITHVM_ACCEL ?? ''
  if (text === '' || options.accel !== undefined) return options
  const accel = ACCELERATORS.find((known) => known === text)
  if (accel !== undefined) return accel === 'kvm' && !isNative(arch) ? options : { ...options, accel }
  throw vmError('INVALID_OPTIONS', {
    summary: 'The environment variable WITHVM_ACCEL is invalid.',
    expected: `one of ${ACCELERATORS.map((known) => `'${known}'`).join(', ')}`,
    got: `'${text}'`,
    hint: 'Correct or unset WITHVM_ACCEL.',
  })
}
