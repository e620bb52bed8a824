import { expect, test } from 'vitest'
import { setDefaultAccelerator } from '../../../src/launch/default-accelerator.js'
import { hostArch } from '../../../src/spec/architectures.js'

const FOREIGN = hostArch() === 's390x' ? 'x86_64' : 's390x'

test('WITHVM_ACCEL sets the accelerator of guests without the option `accel`', () => {
  const resolve = (value: string | undefined, options = {}, arch = hostArch()) =>
    setDefaultAccelerator(options, arch, { WITHVM_ACCEL: value }).accel
  expect(resolve(undefined)).toBeUndefined()
  expect(resolve('')).toBeUndefined()
  expect(resolve('tcg')).toBe('tcg')
  expect(resolve('kvm')).toBe('kvm')
  expect(resolve('kvm', { accel: 'auto' })).toBe('auto')
  // KVM runs no guests of other architectures.
  expect(resolve('kvm', {}, FOREIGN)).toBeUndefined()
  expect(resolve('tcg', {}, FOREIGN)).toBe('tcg')
})

test('an invalid WITHVM_ACCEL is rejected', () => {
  expect(() => setDefaultAccelerator({}, hostArch(), { WITHVM_ACCEL: 'KVM' })).toThrow(
    "The environment variable WITHVM_ACCEL is invalid.\n  Expected: one of 'auto', 'kvm', 'tcg'\n  Got:      'KVM'\nFix: Correct or unset WITHVM_ACCEL.",
  )
})
