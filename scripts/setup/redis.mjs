import { existsSync } from 'node:fs'
import { delimiter } from 'node:path'
import { Failure, run, succeeds } from './command.mjs'

/** Where packages put servers that is not always in PATH. */
const SERVER_FOLDERS = ['/usr/sbin', '/usr/local/bin', '/usr/local/sbin', '/opt/homebrew/bin']

/**
 * Debian starts a service when it installs one. This one is not wanted: every test and the demo start their own. A
 * `policy-rc.d` that says 101 is Debian's way to say so; one that is already there is left alone.
 */
const APT = `
set -e
export DEBIAN_FRONTEND=noninteractive
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\\nexit 101\\n' > "$policy"
  chmod 755 "$policy"
fi
install() { apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends redis-server; }
install || { apt-get -o DPkg::Lock::Timeout=120 update; install; }
if command -v systemctl > /dev/null; then systemctl disable redis-server > /dev/null 2>&1 || true; fi
`

/** The system's package managers, by the program that shows which one it is. */
const MANAGERS = [
  { program: 'apt-get', script: APT, advice: 'apt-get install redis-server' },
  // Newer releases hold Valkey in its place, which brings the redis-server command with its compatibility package.
  {
    program: 'dnf',
    script: 'dnf install -y redis || dnf install -y valkey valkey-compat-redis',
    advice: 'dnf install redis'
  },
  { program: 'yum', script: 'yum install -y redis', advice: 'yum install redis' },
  { program: 'apk', script: 'apk add --no-cache redis', advice: 'apk add redis' },
  {
    program: 'pacman',
    script: 'pacman -S --noconfirm --needed redis || pacman -Sy --noconfirm --needed redis',
    advice: 'pacman -S redis'
  },
  {
    program: 'zypper',
    script: 'zypper --non-interactive install redis',
    advice: 'zypper install redis'
  },
  { program: 'brew', script: 'brew install redis', advice: 'brew install redis', refusesRoot: true }
]

/** Installs redis-server with the system's package manager when it is not in PATH. */
export async function installRedis() {
  if (isInstalled()) return
  const plan = planInstallation({
    has: (program) => succeeds('sh', ['-c', `command -v ${program}`]),
    isRoot: process.getuid?.() === 0,
    maySudo: () => succeeds('sudo', ['-n', 'true'])
  })
  if (plan.advice !== undefined) throw new Failure(plan.advice)
  console.log(`Installing redis-server with ${plan.manager}`)
  const code = await run(plan.command[0], plan.command.slice(1))
  if (code !== 0 || !isInstalled()) {
    throw new Failure(
      `${plan.manager} did not bring redis-server (code ${code}); its messages are above. Install Redis 6.2 or newer by hand and run this again: https://redis.io/docs/latest/operate/oss_and_stack/install/`
    )
  }
}

function isInstalled() {
  addToPath(SERVER_FOLDERS)
  return succeeds('redis-server', ['--version'])
}

/** For this process and the ones it starts. */
function addToPath(folders) {
  const path = (process.env.PATH ?? '').split(delimiter)
  const missing = folders.filter((folder) => existsSync(folder) && !path.includes(folder))
  process.env.PATH = [...path, ...missing].join(delimiter)
}

/** The command that installs Redis here, or advice when this user cannot run one. */
export function planInstallation({ has, isRoot, maySudo }) {
  const manager = MANAGERS.find(({ program }) => has(program))
  if (manager === undefined) {
    return {
      advice:
        'redis-server is not in PATH, and there is no package manager this script knows. Install Redis 6.2 or newer and run this again: https://redis.io/docs/latest/operate/oss_and_stack/install/'
    }
  }
  const { program, script, refusesRoot = false } = manager
  const command = ['sh', '-c', script]
  if (isRoot !== refusesRoot) return { manager: program, command }
  if (!refusesRoot && maySudo()) return { manager: program, command: ['sudo', '-n', ...command] }
  const who = refusesRoot ? `${program} does not run as root` : 'this user may not install packages'
  const line = refusesRoot ? manager.advice : `sudo ${manager.advice}`
  return { advice: `redis-server is not in PATH, and ${who}. Install it and run this again:\n\n  ${line}\n` }
}
