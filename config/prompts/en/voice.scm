; The English speaker, and the words she would otherwise mispronounce.
(voice_cmu_us_slt_arctic_hts)

; A little slower than she was recorded: these are instructions, heard once, over a telephone.
(set! hts_engine_params (append hts_engine_params (list (list "-r" 0.92))))

(lex.add.entry '("organiser" n (((ao r) 1) ((g ax) 0) ((n ay) 1) ((z er) 0))))
(lex.add.entry '("unmuted" n (((ah n) 1) ((m y uw) 1) ((t ih d) 0))))
(lex.add.entry '("licence" n (((l ay) 1) ((s ax n s) 0))))
