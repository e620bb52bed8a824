// @ts-expect-error: the bench is plain JavaScript.
import { seededRandom } from '../../bench/random.mjs'

/** Total number of inputs for all parsers, and the seed. `npm run fuzz` sets both. */
export const FUZZ = {
  inputs: Number(process.env.WITHVM_FUZZ ?? 3000),
  seed: Number(process.env.WITHVM_FUZZ_SEED ?? 1),
} as const

/** Duration of one input that counts as a hang, milliseconds: longer than any parser takes on a busy host. */
const HANG_MS = 5000

/** Generates random inputs from samples: complete, damaged, truncated, repeated and mixed. */
export class ByteFuzzer {
  readonly random: () => number
  readonly #samples: readonly Buffer[]

  constructor(samples: readonly (string | Buffer)[], seed: number) {
    this.random = seededRandom(seed)
    this.#samples = samples.map((sample) => Buffer.from(sample as string))
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit)
  }

  next(): Buffer {
    const parts = Array.from({ length: 1 + this.below(3) }, () => this.#mutate(this.#sample()))
    return Buffer.concat(parts)
  }

  /** Splits bytes into chunks of random lengths, like a stream. */
  split(bytes: Buffer): Buffer[] {
    const pieces: Buffer[] = []
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + this.below(this.random() < 0.3 ? 3 : bytes.length)
      pieces.push(bytes.subarray(at, at + length))
      at += length
    }
    return pieces
  }

  #sample(): Buffer {
    return this.#samples[this.below(this.#samples.length)] as Buffer
  }

  #mutate(sample: Buffer): Buffer {
    const bytes = Buffer.from(sample)
    const at = this.below(bytes.length)
    switch (this.below(7)) {
      case 0:
        return bytes
      case 1: {
        bytes[at] = this.below(256)
        return bytes
      }
      case 2: {
        bytes[at] = (bytes[at] as number) ^ (1 << this.below(8))
        return bytes
      }
      case 3:
        return bytes.subarray(0, at)
      case 4:
        return Buffer.concat([bytes.subarray(0, at), this.#sample().subarray(at % 7), bytes.subarray(at)])
      case 5:
        return Buffer.concat([
          ...Array.from({ length: 1 + this.below(40) }, () => bytes.subarray(at, at + 9)),
          bytes,
        ])
      default:
        return Buffer.from(Array.from({ length: this.below(60) }, () => this.below(256)))
    }
  }
}

/** Calls `target` with a share of the inputs. An error contains the input and the seed that reproduces it. */
export async function fuzz(
  share: number,
  fuzzer: ByteFuzzer,
  target: (bytes: Buffer) => void | Promise<void>,
): Promise<void> {
  const rounds = Math.ceil(FUZZ.inputs * share)
  for (let round = 0; round < rounds; round++) {
    const bytes = fuzzer.next()
    const startedAt = performance.now()
    try {
      await target(bytes)
    } catch (cause) {
      throw new Error(`input ${round} of seed ${FUZZ.seed}: ${JSON.stringify(bytes.toString('latin1'))}`, {
        cause,
      })
    }
    const tookMs = performance.now() - startedAt
    if (tookMs > HANG_MS)
      throw new Error(`input ${round} of seed ${FUZZ.seed} took ${tookMs} ms: ${bytes.toString('base64')}`)
    // Lets the worker respond to Vitest and run pending callbacks.
    if (round % 500 === 0) await new Promise(setImmediate)
  }
}
