import { expect, vi } from 'vitest'
import type { VM } from 'withvm'
import { guestTest } from '../support/guest-test.js'

const test = guestTest({ image: 'tiny' })

/** Waits until the guest has said all that it says at its start, and its shell is at its prompt. */
async function prompt(vm: VM): Promise<void> {
  await vm.serial.waitFor(/^root@tiny:\S*# /)
  await vm.serial.waitFor(/withvm: network .*\n/)
  const from = vm.serial.mark()
  await vm.serial.press('Enter')
  await vm.serial.waitFor(/^root@tiny:\S*# /, { from })
}

test('an editor is opened, typed in, and saves', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen()
  await vm.serial.type('vi /tmp/demo.txt\n')
  await screen.waitFor(/^- \/tmp\/demo\.txt/)
  await screen.waitFor(/^\n(~\n){22}- /)
  await vm.serial.type('ifirst\nsecond\nthird')
  await vm.serial.press('Escape', 'Up', 'Up')
  await vm.serial.type('Ozeroth')
  // A program draws piece by piece: what is waited for is all that matters.
  await screen.waitFor(/^zeroth\nfirst\nsecond\nthird\n~$/)
  await vi.waitFor(() => expect(screen.cursor).toEqual({ row: 0, column: 6 }), { timeout: 5000 })
  await vm.serial.press('Escape')
  await vm.serial.type(':wq\n')
  await screen.waitFor(/^root@tiny:\S*# *$/)
  expect((await vm.ssh`cat /tmp/demo.txt`).stdout).toBe('zeroth\nfirst\nsecond\nthird')
})

test('a program that redraws itself is followed, and left with a key', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen()
  await vm.serial.type('top -d 1\n')
  await screen.waitFor(/^Mem: \d+K used, \d+K free/)
  await screen.waitFor(/^ *PID +PPID USER/)
  await vm.serial.press('q')
  await screen.waitFor(/root@tiny:\S*# *$/)
})

test('a screen of another size is what the guest finds when it asks', async ({ vm }) => {
  await prompt(vm)
  const screen = await vm.serial.screen({ columns: 100, rows: 30, replies: true })
  // What `resize` does: go to the far corner and ask where that is.
  const lines = [
    'stty -icanon -echo',
    String.raw`printf '\033[999;999H\033[6n'`,
    'reply=$(dd bs=1 count=9 2>/dev/null | cat -v)',
    'stty sane; echo; echo "reply: $reply"',
  ]
  await vm.ssh(`cat >/tmp/ask <<'END'\n${lines.join('\n')}\nEND`)
  await vm.serial.type('sh /tmp/ask\n')
  await screen.waitFor('reply: ^[[30;100R')
  await vm.serial.screen({ columns: 80, rows: 24, replies: false })
  expect([screen.columns, screen.rows]).toEqual([80, 24])
})

test('a getty lets in who knows the password', async ({ vm }) => {
  await prompt(vm)
  await vm.ssh`sed -i "s|^user:[*]|user:$(mkpasswd -m sha512 s3cret)|" /etc/passwd && mkdir -p /home/user`
  await vm.serial.type('exec getty -L 0 ttyS0 vt100\n')
  const error = await vm.serial.login({ user: 'user', password: 'wrong' }).catch((caught) => caught)
  expect(error.code).toBe('LOGIN_FAILED')
  await vm.serial.login({ user: 'user', password: 's3cret' })
  const from = vm.serial.mark()
  await vm.serial.type('id -un; exit\n')
  await vm.serial.waitFor(/^user\n/, { from })
})
