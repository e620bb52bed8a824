import { execFileSync } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { assembleSyscallProgram, KEPT } from '../../../images/guest-parts/syscall-program.js'
import { packCpio } from '../../../src/archive/cpio.js'
import { decompressLz4Legacy } from '../../../src/kernel/kernel-image.js'
import {
  formatModulesAlias,
  formatModulesDep,
  type ModuleInfo,
  normalizeModuleName,
  orderModules,
} from '../../../src/kernel/kernel-modules.js'
import { buildSmbiosStrings } from '../../../src/provisioning/credentials.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const module = (path: string, depends: string[] = [], aliases: string[] = []): ModuleInfo => ({
  name: normalizeModuleName(path),
  path,
  depends,
  aliases,
  softdeps: [],
})
const MODULES = [
  module('kernel/virtio-net.ko', ['net_failover', 'virtio'], ['virtio:d1v*']),
  module('kernel/net_failover.ko', ['failover']),
  module('kernel/failover.ko'),
  module('kernel/virtio.ko'),
]

describe('kernel modules', () => {
  test('kernel modules are loaded after their dependencies, and built-in ones are skipped', () => {
    expect(orderModules(MODULES, ['virtio_pci', 'virtio_net'])).toEqual([
      'kernel/failover.ko',
      'kernel/net_failover.ko',
      'kernel/virtio.ko',
      'kernel/virtio-net.ko',
    ])
  })

  test('kernel modules are listed for modprobe with their dependencies and aliases', () => {
    expect(formatModulesDep(MODULES).split('\n')[0]).toBe(
      'kernel/virtio-net.ko: kernel/virtio.ko kernel/net_failover.ko kernel/failover.ko',
    )
    expect(formatModulesAlias(MODULES)).toBe('alias virtio:d1v* virtio_net\n')
  })
})

test('a kernel compressed with lz4 is unpacked, even if a match overlaps its own output', () => {
  // "ab", then six bytes from two bytes back, then "!"
  const block = Buffer.from([0x22, 0x61, 0x62, 0x02, 0x00, 0x10, 0x21])
  const size = Buffer.from([block.length, 0, 0, 0])
  const frame = Buffer.concat([Buffer.from([0x02, 0x21, 0x4c, 0x18]), size, block])
  expect(decompressLz4Legacy(frame, 9).toString()).toBe('abababab!')
})

test('a cpio archive has aligned entries and ends with a trailer', () => {
  const cpio = packCpio([{ path: 'a', mode: 0o100644, content: Buffer.from('12345') }])
  expect(cpio.length % 4).toBe(0)
  expect(cpio.toString('latin1')).toMatch(/^070701.{104}a\0{1,4}12345\0+070701.*TRAILER!!!\0+$/s)
})

test.runIf(process.platform === 'linux' && process.arch === 'x64')(
  'a program of system calls runs them in order, stores results and stops at a failure',
  () => {
    const file = join(ownTmpdir(), 'program')
    const text = Buffer.from('hello\n')
    const program = assembleSyscallProgram([
      { number: 2, args: ['/dev/stdout', 1, 0], keep: true },
      { number: 1, args: [KEPT, text, text.length] },
      { number: 2, args: ['/nowhere', 0, 0], failure: 'no such place' },
      { number: 1, args: [KEPT, text, text.length] },
    ])
    writeFileSync(file, program)
    chmodSync(file, 0o755)
    const script = `(${file}; echo $?) 2>&1 | cat`
    expect(execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' })).toBe('hello\nno such place\n1\n')
  },
)

test('credentials that are one line of text are passed as text, others in base64', () => {
  const strings = buildSmbiosStrings({
    'system.hostname': Buffer.from('box'),
    'withvm.dropbear_host_key': Buffer.from([0, 255]),
    'ssh.authorized_keys.root': Buffer.from('ssh-ed25519 AAAA\n'),
  })
  expect(strings).toEqual([
    'io.systemd.credential:system.hostname=box',
    'io.systemd.credential.binary:withvm.dropbear_host_key=AP8=',
    'io.systemd.credential.binary:ssh.authorized_keys.root=c3NoLWVkMjU1MTkgQUFBQQo=',
  ])
})
