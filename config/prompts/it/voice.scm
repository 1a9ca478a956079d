; The Italian speaker, and the words she would otherwise mispronounce.
(voice_lp_diphone)

; A little slower than she was recorded: these are instructions, heard once, over a telephone.
(Parameter.set 'Duration_Stretch 1.06)

(lex.add.entry '("tollbridge" nn (((t O1 l) 1) ((b r i) 0) ((dZ i) 0))))
