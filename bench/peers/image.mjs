// Builds the guest of the other harnesses: a Debian image of debvm-create, which is cached.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Unit for the root shell on a second serial port that autopkgtest requires, as in its own setup. */
const ROOT_SHELL = `[Unit]
Description=Root shell for autopkgtest
[Service]
ExecStart=/bin/sh
StandardInput=tty-fail
StandardOutput=tty
StandardError=tty
TTYPath=/dev/hvc1
SendSIGHUP=yes
[Install]
WantedBy=multi-user.target
`

/** Returns the files of the image. The first run builds it, with the packages `debvm` and `autopkgtest`. */
export function makePeerImage() {
  const cache =
    process.env.WITHVM_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'withvm')
  const dir = join(cache, 'bench-peers')
  const path = (name) => join(dir, name)
  const image = { disk: path('disk.ext4'), kernel: path('kernel'), initrd: path('initrd'), key: path('key') }
  if (existsSync(image.disk)) return image
  console.log('Building the Debian image of the other harnesses, which takes minutes …')
  rmSync(dir, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })
  const run = (file, ...args) => execFileSync(file, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', image.key)
  writeFileSync(path('autopkgtest.service'), ROOT_SHELL)
  const codename = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))[1]
  const unit = '/etc/systemd/system/autopkgtest.service'
  const hooks = [
    `upload ${path('autopkgtest.service')} ${unit}`,
    'chroot "$1" systemctl enable autopkgtest.service',
    `download /vmlinuz ${image.kernel}`,
    `download /initrd.img ${image.initrd}`,
  ]
  const more = [
    '--include=python3-minimal,linux-image-amd64',
    ...hooks.map((hook) => `--customize-hook=${hook}`),
  ]
  run('debvm-create', '-k', `${image.key}.pub`, '-r', codename, '-o', path('making'), '--', ...more)
  renameSync(path('making'), image.disk)
  return image
}
