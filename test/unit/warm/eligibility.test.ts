import { expect, test } from 'vitest'
import type { BaseImage } from '../../../src/spec/base-image.js'
import { optionSchema } from '../../../src/spec/option-schema.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { COLD_REASONS, findColdReason } from '../../../src/warm/eligibility.js'
import { SAMPLE_IMAGE as image } from '../../support/sample-machine.js'

const reason = (options: VMOptions, base: BaseImage | undefined = image) =>
  findColdReason(resolveSpec(options, base))

test.each<[VMOptions]>([
  [{}],
  [{ start: 'warm' }],
  [{ ready: 'agent' }],
  [{ name: 'other', memory: '1G', cpus: 2, hostfwd: [{ guest: 80 }] }],
  [{ network: { internet: true, mac: '52:54:00:00:00:01', model: 'e1000' } }],
  [{ ssh: { hostPort: 2222 } }],
])('a guest with %j can start from a template', (options) => {
  expect(reason(options)).toBeUndefined()
})

test.each<[VMOptions, string]>([
  [{ start: 'cold' }, "start: 'cold'"],
  [{ ready: 'none' }, "with `ready: 'none'` the test observes the boot"],
  [{ ready: /up/ }, 'with its own `ready` check the test observes the boot'],
  [{ ready: () => {} }, 'with its own `ready` check the test observes the boot'],
  [{ boot: 'c' }, 'boot order and network boot take effect only in a cold boot'],
  [{ network: { tftp: '/srv' } }, 'boot order and network boot take effect only in a cold boot'],
  [{ kernel: '/vmlinuz' }, '`kernel` takes effect only in a cold boot'],
  [
    { ssh: { password: 'x' } },
    'a clone accepts only the key of its run, and `ssh` specifies another login or none',
  ],
  [
    { ssh: false, ready: 'agent' },
    'a clone accepts only the key of its run, and `ssh` specifies another login or none',
  ],
  [{ qemuArgs: ['-usb'] }, '`qemuArgs` may name files and devices that cannot be shared'],
])('a guest with %j boots cold, and the reason is reported', (options, why) => {
  expect(reason(options)).toBe(why)
})

test('an image without an identity agent boots cold, and so does a kernel alone', () => {
  const plain = { ...image, traits: { ...image.traits, identity: undefined } }
  expect(reason({}, plain)).toBe('the image has no identity agent, which clones need for their own identity')
  expect(findColdReason(resolveSpec({ kernel: '/vmlinuz' }, undefined))).toBe(
    'the guest has no image, only a kernel',
  )
  expect(findColdReason(resolveSpec({ image: false, ready: 'none' }, undefined))).toBe(
    'the guest has no image',
  )
})

test('each reason for a cold boot names existing options', () => {
  const known = Object.keys(optionSchema.shape)
  for (const { options, reason } of COLD_REASONS) {
    expect(options.length, reason).toBeGreaterThan(0)
    for (const option of options) expect(known, reason).toContain(option.split(/[.[]/)[0])
  }
})
