import { expect, test } from 'vitest'
import type { BaseImage } from '../../../src/spec/base-image.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { findColdReason } from '../../../src/warm/eligibility.js'
import { SAMPLE_IMAGE as image } from '../../support/sample-machine.js'

const reason = (options: VMOptions, base: BaseImage | undefined = image) =>
  findColdReason(resolveSpec(options, base), options)

test.each<[VMOptions]>([
  [{}],
  [{ start: 'warm' }],
  [{ ready: 'agent' }],
  [{ name: 'other', memory: '1G', cpus: 2, hostfwd: [{ guest: 80 }] }],
  [{ network: { internet: true, mac: '52:54:00:00:00:01', model: 'e1000' } }],
  [{ ssh: { hostPort: 2222 } }],
])('a guest with %j can go on from one that was booted before', (options) => {
  expect(reason(options)).toBeUndefined()
})

test.each<[VMOptions, string]>([
  [{ start: 'cold' }, "start: 'cold'"],
  [{ ready: 'none' }, "with ready: 'none' the test is to see the guest boot"],
  [{ ready: /up/ }, 'with a `ready` of its own the test is to see the guest boot'],
  [{ ready: () => {} }, 'with a `ready` of its own the test is to see the guest boot'],
  [{ boot: 'c' }, 'a boot order and network boots are about booting'],
  [{ network: { tftp: '/srv' } }, 'a boot order and network boots are about booting'],
  [{ kernel: '/vmlinuz' }, 'a kernel of its own is about booting'],
  [{ ssh: { password: 'x' } }, 'a clone is given the keys of its run, and `ssh` says something else'],
  [{ ssh: false, ready: 'agent' }, 'a clone is given the keys of its run, and `ssh` says something else'],
  [{ qemuArgs: ['-usb'] }, '`qemuArgs` may name files and devices that cannot be shared'],
])('a guest with %j is booted, and it is said why', (options, why) => {
  expect(reason(options)).toBe(why)
})

test('an image in which nothing can make clones differ is booted, and so is a kernel alone', () => {
  const plain = { ...image, traits: { ...image.traits, hasIdentityAgent: false } }
  expect(reason({}, plain)).toBe('nothing in this image can make each of its clones a machine of its own')
  expect(findColdReason(resolveSpec({ kernel: '/vmlinuz' }, undefined), {})).toBe(
    'there is no image, only a kernel',
  )
  expect(findColdReason(resolveSpec({ image: false, ready: 'none' }, undefined), {})).toBe(
    'there is no image',
  )
})
