import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { installCommand, readDistribution } from '../../../src/host/distribution.js'
import { makeTemporaryDir } from './fake-program.js'

function readFrom(text: string) {
  const path = join(makeTemporaryDir(), 'os-release')
  writeFileSync(path, text)
  return readDistribution(path, 'linux')
}

test.each([
  ['ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"', 'apt', 'Debian GNU/Linux 12 (bookworm)'],
  ['ID=linuxmint\nID_LIKE="ubuntu debian"\nPRETTY_NAME="Linux Mint 22"', 'apt', 'Linux Mint 22'],
  ["ID=fedora\nPRETTY_NAME='Fedora Linux 42'", 'dnf', 'Fedora Linux 42'],
  ['ID="rocky"\nID_LIKE="rhel centos fedora"\nPRETTY_NAME="Rocky Linux 9.5"', 'dnf', 'Rocky Linux 9.5'],
  ['ID=arch\nPRETTY_NAME="Arch Linux"', 'pacman', 'Arch Linux'],
  [
    'ID="opensuse-leap"\nID_LIKE="suse opensuse"\nPRETTY_NAME="openSUSE Leap 15.6"',
    'zypper',
    'openSUSE Leap 15.6',
  ],
  ['ID=nixos', undefined, 'nixos'],
  ['', undefined, 'an unknown system'],
])('os-release %j selects the package manager %s', (text, packageManager, name) => {
  expect(readFrom(text)).toEqual({ name, packageManager })
})

test('macOS uses Homebrew, and a system without os-release has no package manager', () => {
  expect(readDistribution('/nowhere', 'darwin')).toEqual({ name: 'macOS', packageManager: 'brew' })
  expect(readDistribution('/nowhere', 'linux').packageManager).toBeUndefined()
})

test.each([
  ['apt', 'sudo apt-get install -y --no-install-recommends qemu-system-x86 qemu-utils e2fsprogs'],
  ['dnf', 'sudo dnf install -y qemu-kvm qemu-img e2fsprogs'],
  ['pacman', 'sudo pacman -S --needed --noconfirm qemu-base qemu-img e2fsprogs'],
  ['zypper', 'sudo zypper install -y qemu-x86 qemu-img e2fsprogs'],
  ['brew', 'brew install qemu e2fsprogs'],
  [undefined, undefined],
] as const)('the install command of %s is %j', (manager, command) => {
  expect(installCommand(['qemu-system-x86', 'qemu-utils', 'e2fsprogs'], manager)).toBe(command)
})
