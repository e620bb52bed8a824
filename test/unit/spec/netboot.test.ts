import { expect, test } from 'vitest'
import { findOptionProblems } from '../../../src/spec/validate-options.js'

function problems(netboot: unknown, more: object = {}): string[] {
  return findOptionProblems({ netboot, ...more }).map(
    ({ path, got, expected }) => `${path}: got ${got}; expected ${expected}`,
  )
}

test('options for network boots that can be are taken', () => {
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

test('others are refused, each in words of its own', () => {
  const http = { address: '10.0.2.2', port: 0, faults: { a: { status: 200 } } }
  const files = { '../a': 'b' }
  const wrong = { root: '', trees: ['pxelinx'], files, bootfile: 'a/../../b', once: 'yes', http, roto: 1 }
  expect(problems(wrong)).toMatchInlineSnapshot(`
    [
      "netboot.root: got ""; expected the path of a folder",
      "netboot.trees: got ["pxelinx"]; expected a list of 'pxelinux', 'ipxe', 'grub', 'memtest', 'debian-netboot'",
      "netboot.files: got {"../a":"b"}; expected for each path below the folder a text, bytes, { path } or a function",
      "netboot.http.address: got "10.0.2.2"; expected an address of the guest's network that QEMU does not use itself, such as 10.0.2.80",
      "netboot.http.port: got 0; expected a port, 1 to 65535",
      "netboot.http.faults: got {"a":{"status":200}}; expected for each path { status: 400 to 599, delay: a time, bytesPerSecond, cutAfter, contentLength, times }, all but the first two whole numbers",
      "netboot.once: got "yes"; expected true or false",
      "netboot.roto: got an option that does not exist; expected 'root'",
      "netboot.bootfile: got "a/../../b", which leads out of the folder; expected a path below it",
    ]
  `)
  expect(problems({ files: { a: 5 } })).toMatchInlineSnapshot(`
    [
      "netboot.files: got {"a":5}; expected for each path below the folder a text, bytes, { path } or a function",
    ]
  `)
  expect(problems({})).toMatchInlineSnapshot(`
    [
      "netboot: got nothing to serve; expected \`root\`, \`trees\` or \`files\`",
    ]
  `)
  expect(problems({ root: 'a', bootfile: 'http://10.0.2.80/a' })).toMatchInlineSnapshot(`
    [
      "netboot.bootfile: got "http://10.0.2.80/a"; expected \`netboot.http\` beside it",
    ]
  `)
  expect(problems({ root: 'a' }, { network: { tftp: 'b', bootfile: 'c' } })).toMatchInlineSnapshot(`
    [
      "network.tftp: got "b" beside \`netboot\`; expected \`netboot.root\` in its place",
      "network.bootfile: got "c" beside \`netboot\`; expected \`netboot.bootfile\` in its place",
    ]
  `)
})

test('what UEFI firmware fetches by itself has to be UEFI, and served, and first', () => {
  const served = { trees: ['ipxe'], httpBoot: 'ipxe.efi' }
  const uefi = { firmware: 'uefi' }
  expect(problems(served, uefi)).toEqual([])
  expect(problems({ ...served, once: true }, { ...uefi, systemDisk: { bootIndex: 1 } })).toEqual([])
  expect(problems({ ...served, httpBoot: '../a b' })).toEqual([
    'netboot.httpBoot: got "../a b"; expected a path below the folder, or a URL with http:',
    'netboot.httpBoot: got "../a b", which leads out of the folder; expected a path below it',
    'netboot.httpBoot: got "../a b" without UEFI firmware; expected `firmware: \'uefi\'` beside it',
  ])
  expect(problems({ ...served, http: false }, { ...uefi, boot: 'c' })).toEqual([
    'netboot.httpBoot: got "ipxe.efi" beside `boot`; expected one of both: it is what is booted first',
    'netboot.httpBoot: got "ipxe.efi", and no `http` that serves it; expected `http: true`, or a URL',
  ])
  expect(problems(served, { ...uefi, kernel: 'vmlinuz' })).toEqual([
    'netboot.httpBoot: got "ipxe.efi" beside `kernel`; expected one of both: QEMU hands a kernel over itself',
  ])
  expect(problems(served, { ...uefi, systemDisk: { bootIndex: 1 } })).toEqual([
    'netboot.httpBoot: got "ipxe.efi" beside a `bootIndex`; expected `once: true` beside it, or no `bootIndex`',
  ])
})
