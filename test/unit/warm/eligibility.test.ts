import { expect, test } from 'vitest'
import type { BaseImage } from '../../../src/spec/base-image.js'
import { optionSchema } from '../../../src/spec/option-schema.js'
import type { VMOptions } from '../../../src/spec/options.js'
import { resolveSpec } from '../../../src/spec/resolve/resolve-spec.js'
import { COLD_REASONS, findColdReason } from '../../../src/warm/eligibility.js'
import { SAMPLE_IMAGE as image } from '../../support/sample-machine.js'

const reason = (options: VMOptions, base: BaseImage | undefined = image) =>
  findColdReason(resolveSpec(options, base))?.reason

/** Image of an author, whose content is unknown. */
const plain = { ...image, traits: { ...image.traits, identity: undefined } }

test.each<[VMOptions]>([
  [{}],
  [{ start: 'warm' }],
  [{ ready: 'agent' }],
  [{ ready: /up/ }],
  [{ ready: () => {} }],
  [{ name: 'other', memory: '1G', cpus: 2, hostfwd: [{ guest: 80 }] }],
  [{ network: { internet: true, mac: '52:54:00:00:00:01', model: 'e1000', net: '10.5.0.0/24' } }],
  [{ network: [{}, { model: 'e1000' }] }],
  [{ network: [{}, { hub: 'lan' }] }],
  [{ ssh: { hostPort: 2222 } }],
  [{ ssh: { password: 'x' } }],
  [{ ssh: false, ready: 'agent' }],
  [{ login: { user: 'root' } }],
  [{ kernel: '/vmlinuz' }],
  [{ firmware: 'uefi', tpm: true }],
  [{ disks: [{ size: '1G' }, { media: 'cdrom' }] }],
  [{ numa: [{ memory: '128M' }, { memory: '128M' }] }],
  [{ memory: { preallocate: true, lock: true, merge: false } }],
  [{ smbios: { product: 'Engine' }, rtc: { base: '2030-01-31' } }],
  [{ rtc: { base: 'localtime', clock: 'host' } }],
  [{ vga: 'std', vnc: true }],
  [{ devices: [{ driver: 'pvpanic' }], ports: [{ name: 'control' }] }],
  [{ debug: { gdb: true } }],
  [{ start: 'warm', qemuArgs: ['-usb'] }],
])('a guest with %j can start from a template', (options) => {
  expect(reason(options)).toBeUndefined()
})

test.each<[VMOptions, string]>([
  [{ start: 'cold' }, "start: 'cold'"],
  [{ ready: 'none' }, "with `ready: 'none'` the test observes the boot"],
  [{ boot: 'c' }, 'boot order and network boot take effect only in a cold boot'],
  [{ network: { tftp: '/srv' } }, 'boot order and network boot take effect only in a cold boot'],
  [{ network: [{}, { tftp: '/srv' }] }, 'boot order and network boot take effect only in a cold boot'],
  [{ debug: { log: ['int'] } }, '`debug` observes a guest from power-on'],
  [
    { network: [{}, { tap: 'tap0' }] },
    'the frames that QEMU exchanges with a TAP interface have another form than those of a template',
  ],
  [
    { network: [{}, { hub: 'lan', model: 'e1000' }] },
    'with cards of several models, the guest may number the card on a hub differently',
  ],
  [
    { rtc: { base: '2030-01-31', clock: 'host' } },
    "with `rtc.clock: 'host'`, the age of the template would be added to `rtc.base`",
  ],
  [
    { memory: { hugePages: true } },
    'the RAM of a clone is a file of the cache, which huge pages cannot hold',
  ],
  [
    { numa: [{ memory: '256M', hostNodes: [0] }] },
    'clones share RAM, which is on the host nodes where their template left it',
  ],
  [{ qemuArgs: ['-usb'] }, '`qemuArgs` may name files and devices that guests cannot share'],
])('a guest with %j boots cold, and the reason is reported', (options, why) => {
  expect(reason(options)).toBe(why)
})

test.each<[VMOptions]>([[{}], [{ ready: 'agent' }], [{ login: { user: 'root' }, ready: /login:/ }]])(
  'a guest of an image without an identity agent can start from a template with %j',
  (options) => {
    expect(reason(options, plain)).toBeUndefined()
  },
)

test('a guest of a root file system boots cold with the kernel of tiny, which has no modules there', () => {
  const root = { ...plain, traits: { ...plain.traits, lacksModules: true } }
  expect(reason({}, root)).toBe(
    'the guest has no module for the port of the identity agent: a root file system has the kernel of tiny',
  )
  expect(reason({ kernel: '/vmlinuz' }, root)).toBeUndefined()
})

test('a guest of an image without an identity agent boots cold if it has a card on a hub', () => {
  expect(reason({ network: [{}, { hub: 'lan' }] }, plain)).toBe(
    'clones of this image cannot change the MAC address of a card on a hub',
  )
})

test('a guest of an image without an identity agent boots cold if nothing can bring the agent into it', () => {
  expect(reason({ ready: /login:/ }, plain)).toBe(
    'with this `ready`, no login of the guest is known, which its clones need to get their identity',
  )
  const vmdk = { ...plain, disk: { path: '/disk', format: 'vmdk' } } as const
  expect(reason({}, vmdk)).toBe('QEMU cannot save guests with images of this format')
  const encryption = { secret: 'x', virtualBytes: 1 }
  const encrypted = { ...plain, disk: { path: '/disk', format: 'qcow2', encryption } } as const
  expect(reason({}, encrypted)).toBe('a template would contain the decrypted content of an encrypted disk')
})

test('a kernel alone boots cold, and so does a guest without an image', () => {
  expect(findColdReason(resolveSpec({ kernel: '/vmlinuz' }, undefined))?.reason).toBe(
    'the guest has no image, only a kernel',
  )
  expect(findColdReason(resolveSpec({ image: false, ready: 'none' }, undefined))?.reason).toBe(
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
