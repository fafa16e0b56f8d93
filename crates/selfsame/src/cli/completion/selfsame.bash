# bash completion for selfsame; works with bash 3.2.
_selfsame() {
    local IFS=$'\n' words count=0 index word glue='' strip current candidate quoted
    words=()
    # bash parts words at `=` and `:`, too; what stood together is put together.
    for ((index = 1; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if ((count)) && [[ $glue || $word == [=:] ]]; then
            words[count - 1]+=$word
        else
            words[count]=$word
            count=$((count + 1))
        fi
        glue=
        [[ $word == [=:] ]] && glue=1
    done
    current=${words[count - 1]}
    # Of a word that bash parted, only the last part is replaced.
    if [[ $glue ]]; then strip=$current; else strip=${current%"${COMP_WORDS[COMP_CWORD]}"}; fi
    COMPREPLY=()
    while read -r candidate; do
        if [[ $candidate == :files ]]; then
            compopt -o default 2>/dev/null || :
            return
        fi
        printf -v quoted %q "$candidate"
        for candidate in "$quoted" "$candidate"; do
            if [[ $candidate == "$current"* ]]; then
                COMPREPLY+=("${quoted#"$strip"}")
                break
            fi
        done
    done < <("$1" complete -- "${words[@]}" 2>/dev/null)
}
complete -F _selfsame selfsame
