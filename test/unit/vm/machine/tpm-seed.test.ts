import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { changeTpmSeed, hasTpmSeed } from '../../../../src/vm/machine/tpm-seed.js'

const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest()
const hex = (digits: string) => Buffer.from(digits.replaceAll(' ', ''), 'hex')

/** Offset of the seed in the state of a TPM. */
const SEED_AT = 8 + 22

/** Makes the device state of a machine with the volatile state of a TPM 2.0 as libtpms marshals it. */
function makeState({ seed = Buffer.alloc(48, 7), checksum = true } = {}): Buffer {
  const header = hex('0004 45637889 0001')
  const generator = hex('0002 6fe83ea1 0001 0000000000000008 47425244 0030')
  const values = Buffer.concat([header, generator, seed, Buffer.alloc(100, 1)])
  const volatile = Buffer.concat([values, checksum ? sha1(values) : Buffer.alloc(20)])
  const length = Buffer.alloc(4)
  length.writeUInt32BE(volatile.length)
  // The mark of the state also occurs in other data.
  return Buffer.concat([Buffer.from('devices'), hex('45637889'), length, volatile, Buffer.from('the end')])
}

test("the seed of a TPM's random number generator is replaced, and the checksum is updated", () => {
  const [one, two] = [makeState(), makeState()]
  for (const state of [one, two]) {
    changeTpmSeed(state)
    expect(hasTpmSeed(state)).toBe(true) // which requires a matching checksum
  }
  const start = makeState().length - 'the end'.length - (8 + 22 + 48 + 100 + 20)
  const seeds = [one, two, makeState()].map((state) =>
    state.subarray(start + SEED_AT, start + SEED_AT + 48).toString('hex'),
  )
  expect(new Set(seeds).size).toBe(3)
  expect(one.subarray(0, start)).toEqual(two.subarray(0, start))
  expect(one.toString('latin1').endsWith('the end')).toBe(true)
})

test.each([
  ['without a TPM', Buffer.alloc(1000, 3)],
  ['with a wrong checksum', makeState({ checksum: false })],
  ['with a seed of another size', makeState({ seed: Buffer.alloc(2) }).subarray(0, 60)],
  ['that ends early', makeState().subarray(0, 40)],
])('a device state %s is not changed', (_, state) => {
  const before = Buffer.from(state)
  expect(hasTpmSeed(state)).toBe(false)
  changeTpmSeed(state)
  expect(state).toEqual(before)
})
