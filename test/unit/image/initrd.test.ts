import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { buildInitrd } from '../../../images/tiny/initrd.js'
import { addCredentials } from '../../../src/provisioning/initrd-credentials.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'

const MODULES = ['virtio_blk.ko', 'ext4.ko'].map((fileName) => ({ fileName, content: Buffer.from(fileName) }))

/** Returns the script that the initrd of another architecture starts. */
function scriptOf(initrd: Buffer): string {
  const text = initrd.toString('latin1')
  const start = text.indexOf('#!/bin/busybox sh')
  return text.slice(start, text.indexOf('\0', start))
}

test('the initrd for x86-64 runs a program of system calls, the others a busybox script', () => {
  const own = buildInitrd(MODULES, undefined)
  expect(own.includes('\x7fELF')).toBe(true)
  expect(own.includes('#!/bin/busybox sh')).toBe(false)
  const script = scriptOf(buildInitrd(MODULES, Buffer.from('busybox')))
  expect(script.split('\n').filter((line) => line.includes('insmod'))).toEqual([
    'busybox insmod /m/virtio_blk.ko',
    'busybox insmod /m/ext4.ko',
  ])
  expect(script).toContain('busybox mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /root/tmp')
  expect(script).toContain('busybox ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up')
  expect(script.trimEnd().split('\n').at(-1)).toBe('exec busybox switch_root /root /sbin/init')
  const path = join(ownTmpdir(), 'init')
  writeFileSync(path, script)
  execFileSync('sh', ['-n', path]) // fails if it is not a valid script
})

test('credentials are a separate archive after the unmodified initrd', () => {
  const initrd = buildInitrd(MODULES, Buffer.from('busybox'))
  const given = addCredentials(initrd, { 'system.hostname': Buffer.from('guest') })
  expect(given.subarray(0, initrd.length)).toEqual(initrd)
  expect(initrd.length % 4).toBe(0)
  const added = given.subarray(initrd.length).toString('latin1')
  expect(added).toMatch(/^070701[\s\S]*credentials\0[\s\S]*credentials\/system\.hostname\0+guest\0*070701/)
})
