#compdef selfsame
_selfsame() {
    local -a candidates
    candidates=("${(@f)$("${words[1]}" complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ ${candidates[1]} == :files ]]; then
        _files
    elif [[ -n ${candidates[1]} ]]; then
        compadd -a candidates
    fi
}
if [[ ${funcstack[1]} == _selfsame ]]; then _selfsame "$@"; else compdef _selfsame selfsame; fi
