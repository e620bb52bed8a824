import { expect, test } from 'vitest'
import { readTscKhz, rememberTscKhz } from '../../../../src/host/tsc-frequency.js'
import type { VMOptions } from '../../../../src/spec/options.js'
import { resolveSpec } from '../../../../src/spec/resolve/resolve-spec.js'
import { findTscKhz } from '../../../../src/vm/machine/host-processor.js'
import { ownEnv } from '../../../support/own-env.js'
import { ownTmpdir } from '../../../support/own-tmpdir.js'
import { SAMPLE_IMAGE } from '../../../support/sample-machine.js'

const find = (options: VMOptions) => {
  const directBoot = { kernel: '/cache/kernel', append: [], takesTscFrequency: true }
  const spec = resolveSpec({ arch: 'x86_64', ...options }, { ...SAMPLE_IMAGE, directBoot })
  return findTscKhz({ spec, host: { accelerator: 'tcg' } } as never)
}

test('the kernel of an image gets the TSC frequency, except under `-icount` and if the author specifies the kernel', async () => {
  ownEnv({ WITHVM_CACHE: ownTmpdir() })
  await rememberTscKhz(2_298_123)
  expect(await find({})).toBe(await readTscKhz())
  expect(await find({})).toBeGreaterThan(0)
  expect(await find({ qemuArgs: ['-icount', 'shift=0'] })).toBeUndefined()
  expect(await find({ qemuArgs: ['--icount', 'auto'] })).toBeUndefined()
  expect(await find({ kernel: '/other' })).toBeUndefined()
})
