# Sourced from the root: make_environment FILE… makes .venv with the pinned requirements of the files, once for each state
# of them; PYTHON names another interpreter than python3 (3.10 to 3.12).
make_environment() {
  local stamp
  stamp=.venv/installed-$(cat "$@" | cksum | tr ' ' -)
  if [ ! -x .venv/bin/python ]; then
    echo "making .venv"
    "${PYTHON:-python3}" -m venv .venv
  fi
  if [ ! -e "$stamp" ]; then
    echo "installing $*"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check $(printf -- '-r %s ' "$@")
    touch "$stamp"
  fi
}
