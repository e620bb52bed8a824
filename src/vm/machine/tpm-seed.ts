import { createHash, randomFillSync } from 'node:crypto'

/**
 * Volatile state of a TPM 2.0 in the device state that QEMU saves, big-endian (libtpms,
 * NVMarshal.c and Volatile.c): its length by swtpm, a version, this mark, values, and the SHA-1 of
 * everything before.
 */
const STATE_MARK = Buffer.from('45637889', 'hex')
const LENGTH_BYTES = 4
const VERSION_BYTES = 2
const SHA1_BYTES = 20
/**
 * State of its random number generator (`DRBG_STATE_Marshal`): a version, this mark, from version 2
 * on another version, a counter, the second mark, and the seed with its length.
 */
const GENERATOR_MARK = Buffer.from('6fe83ea1', 'hex')
const SEED_MARK = Buffer.from('474252440030', 'hex')
const MAX_DISTANCE = 14
const SEED_BYTES = 48

/** Seed of a random number generator, as a part of a saved device state. */
interface TpmSeed {
  readonly seed: Buffer
  /** Part of the state that has a checksum. */
  readonly covered: Buffer
  readonly checksum: Buffer
}

/**
 * Returns true if the TPM of a saved device state is one whose random number generator can be given
 * another seed.
 */
export function hasTpmSeed(state: Buffer): boolean {
  return findSeed(state) !== undefined
}

/**
 * Changes the seed of a TPM's random number generator in a saved device state, so that the TPMs of
 * clones return different random numbers.
 */
export function changeTpmSeed(state: Buffer): void {
  const found = findSeed(state)
  if (found === undefined) return
  randomFillSync(found.seed)
  sha1(found.covered).copy(found.checksum)
}

function findSeed(state: Buffer): TpmSeed | undefined {
  for (let at = state.indexOf(STATE_MARK); at >= 0; at = state.indexOf(STATE_MARK, at + 1)) {
    const start = at - VERSION_BYTES
    if (start < LENGTH_BYTES) continue
    const end = start + state.readUInt32BE(start - LENGTH_BYTES)
    if (end > state.length || end - start < SHA1_BYTES) continue
    const covered = state.subarray(start, end - SHA1_BYTES)
    const checksum = state.subarray(end - SHA1_BYTES, end)
    // The mark may also occur in other data.
    const seed = sha1(covered).equals(checksum) ? findSeedIn(covered) : undefined
    if (seed !== undefined) return { seed, covered, checksum }
  }
  return undefined
}

function findSeedIn(tpm: Buffer): Buffer | undefined {
  const generator = tpm.indexOf(GENERATOR_MARK)
  const mark = generator < 0 ? -1 : tpm.indexOf(SEED_MARK, generator)
  if (mark < 0 || mark - generator > MAX_DISTANCE) return undefined
  const at = mark + SEED_MARK.length
  return at + SEED_BYTES > tpm.length ? undefined : tpm.subarray(at, at + SEED_BYTES)
}

function sha1(bytes: Buffer): Buffer {
  return createHash('sha1').update(bytes).digest()
}
