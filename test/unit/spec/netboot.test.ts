import { expect, test } from 'vitest'
import { findOptionProblems } from '../../../src/spec/validate-options.js'

function problems(netboot: unknown, more: object = {}): string[] {
  return findOptionProblems({ netboot, ...more }).map(
    ({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`,
  )
}

test('valid network boot options are accepted', () => {
  expect(
    problems({ root: 'dir', bootfile: 'pxelinux.0', tftpServerName: 'boot', once: true, http: true }),
  ).toEqual([])
  expect(problems({ trees: ['pxelinux', 'memtest'], bootfile: 'pxelinux.0', http: { port: 8080 } })).toEqual(
    [],
  )
  const files = { a: 'text', 'b/c': new Uint8Array(), d: { path: '/e' }, f: () => 'g' }
  const faults = {
    a: { status: 404 },
    b: { delay: '1s', bytesPerSecond: 5, cutAfter: 0, contentLength: 5, times: 2 },
  }
  expect(problems({ files, http: { address: '10.0.2.9', faults } })).toEqual([])
})

test('invalid network boot options are rejected with a specific message each', () => {
  const http = { address: '10.0.2.2', port: 0, faults: { a: { status: 200 } } }
  const files = { '../a': 'b' }
  const wrong = { root: '', trees: ['pxelinx'], files, bootfile: 'a/../../b', once: 'yes', http, roto: 1 }
  expect(problems(wrong)).toMatchInlineSnapshot(`
    [
      "netboot.root: got ""; expected the path of a folder",
      "netboot.trees: got ["pxelinx"]; expected a list of 'pxelinux', 'ipxe', 'grub', 'memtest', 'debian-netboot'",
      "netboot.files: got {"../a":"b"}; expected files by path below the folder: a string, bytes, { path } or a function each",
      "netboot.http.address: got "10.0.2.2"; expected an address of the guest's network that QEMU does not use itself, such as 10.0.2.80",
      "netboot.http.port: got 0; expected a port, 1 to 65535",
      "netboot.http.faults: got {"a":{"status":200}}; expected faults by path: { status: 400 to 599, delay: a duration, bytesPerSecond, cutAfter, contentLength, times: whole numbers }",
      "netboot.once: got "yes"; expected true or false",
      "netboot.roto: got an unknown option; expected 'root'",
      "netboot.bootfile: got "a/../../b", which is outside of the folder; expected a path below the folder",
    ]
  `)
  expect(problems({ files: { a: 5 } })).toMatchInlineSnapshot(`
    [
      "netboot.files: got {"a":5}; expected files by path below the folder: a string, bytes, { path } or a function each",
    ]
  `)
  expect(problems({})).toMatchInlineSnapshot(`
    [
      "netboot: got nothing to serve; expected \`root\`, \`trees\` or \`files\`",
    ]
  `)
  expect(problems({ root: 'a', bootfile: 'http://10.0.2.80/a' })).toMatchInlineSnapshot(`
    [
      "netboot.bootfile: got "http://10.0.2.80/a"; expected \`netboot.http\` to be set too",
    ]
  `)
  expect(problems({ root: 'a' }, { network: { tftp: 'b', bootfile: 'c' } })).toMatchInlineSnapshot(`
    [
      "network.tftp: got "b" together with \`netboot\`; expected \`netboot.root\` instead",
      "network.bootfile: got "c" together with \`netboot\`; expected \`netboot.bootfile\` instead",
    ]
  `)
})

test('`netboot.httpBoot` requires UEFI firmware, a server, and the first place in the boot order', () => {
  const served = { trees: ['ipxe'], httpBoot: 'ipxe.efi' }
  const uefi = { firmware: 'uefi' }
  expect(problems(served, uefi)).toEqual([])
  expect(problems({ ...served, once: true }, { ...uefi, systemDisk: { bootIndex: 1 } })).toEqual([])
  expect(problems({ ...served, httpBoot: '../a b' })).toEqual([
    'netboot.httpBoot: got "../a b"; expected a path below the folder, or an http: URL',
    'netboot.httpBoot: got "../a b", which is outside of the folder; expected a path below the folder',
    'netboot.httpBoot: got "../a b" without UEFI firmware; expected `firmware: \'uefi\'` to be set too',
  ])
  expect(problems({ ...served, http: false }, { ...uefi, boot: 'c' })).toEqual([
    'netboot.httpBoot: got both; expected only one of `netboot.httpBoot` and `boot` or `bootOnce` (`httpBoot` is booted first)',
    'netboot.httpBoot: got "ipxe.efi" together with `http: false`; expected `http: true`, or a URL',
  ])
  expect(problems(served, { ...uefi, kernel: 'vmlinuz' })).toEqual([
    'netboot.httpBoot: got both; expected only one of `netboot.httpBoot` and `kernel` (QEMU loads a kernel directly)',
  ])
  expect(problems(served, { ...uefi, systemDisk: { bootIndex: 1 } })).toEqual([
    'netboot.httpBoot: got "ipxe.efi" together with a `bootIndex`; expected `once: true` to be set too, or no `bootIndex`',
  ])
})
