"""
French: the sentences that titles and captions of the demo world are composed from.

Written for this project; no real person's text.
"""

from typing import Final

OPENERS: Final = (
    "Une minute :",
    "En vrai,",
    "À écouter :",
    "Petit conseil :",
    "Ce matin :",
    "Question du jour :",
    "Sans filtre :",
    "Une idée de {city} :",
    "Avant de dormir :",
    "Entre nous :",
)
TAILS: Final = (
    "💚",
    "🌿 doucement",
    ", et vous ?",
    "(partie 2)",
    ", à partager avec qui en a besoin",
    ", pas à pas",
    ", depuis {city}",
    "en une minute",
)
CAPTIONS: Final = (
    "Dites-moi en commentaire comment vous le vivez.",
    "Regardez jusqu'au bout et donnez votre avis.",
    "Une vidéo faite avec beaucoup de tendresse.",
    "Si cela vous parle, envoyez-la à un ami.",
    "On continue la discussion dans la prochaine vidéo.",
    "Merci infiniment pour votre soutien.",
)
TOPICS: Final = {
    "S1": (
        "demander de l'aide sans avoir honte",
        "ma première fois chez la psychologue",
        "où trouver quelqu'un qui écoute",
        "parler à une personne de confiance, c'est une force",
        "comment se passe une première séance",
    ),
    "S2": (
        "c'est quoi l'anxiété, et pourquoi elle vient",
        "la différence entre tristesse et dépression",
        "pourquoi notre cerveau se fatigue",
        "comprendre la crise d'angoisse simplement",
        "la psychologue répond à vos questions",
    ),
    "S3": (
        "respire avec moi, quatre secondes",
        "me calmer avant un examen",
        "une routine de sommeil sans téléphone",
        "cinq petites choses quand je stresse",
        "une courte marche qui change la journée",
    ),
    "S4": (
        "j'allais mal, et j'en suis sortie peu à peu",
        "un an après : j'ai réappris à rire",
        "mon histoire avec l'espoir",
        "le jour où j'ai commencé à aller mieux",
        "reprendre les études après une période difficile",
    ),
    "S5": (
        "voir un psy, ce n'est pas une honte",
        "les mots qu'on peut changer",
        "un homme aussi a le droit de pleurer",
        "la santé mentale se soigne comme le reste",
        "écouter avant de juger",
    ),
    "S6": (
        "parler avec ses parents sans se disputer",
        "une question à poser à votre enfant ce soir",
        "comment j'ai dit à maman que ça n'allait pas",
        "le dîner sans téléphones : on a essayé",
        "mon père et moi, on apprend à s'écouter",
    ),
    "S7": (
        "tu n'es pas seul, on est nombreux",
        "recommencer dans une ville où je ne connais personne",
        "se faire des amis à la fac",
        "appelle quelqu'un qui te manque",
        "un café avec ma voisine a changé ma journée",
    ),
    "S8": (
        "stress du bac : comment je m'organise",
        "épuisée par le travail, ce que j'ai changé",
        "un quart d'heure d'étude, cinq minutes de pause",
        "une mauvaise note n'est pas la fin du monde",
        "dire non au travail, calmement",
    ),
    "S9": (
        "moins de téléphone sans se priver",
        "une semaine avec le téléphone dans une autre pièce",
        "ce que fait le défilement avant de dormir",
        "un dimanche sans écran avec les enfants",
        "j'ai coupé les notifications et je respire",
    ),
    "S10": (
        "la patience et la force, un mot de ma grand-mère",
        "dessiner m'aide à souffler",
        "courir le matin au bord de l'eau",
        "qu'est-ce qui donne du sens à votre journée",
        "jouer au foot avec les voisins fait du bien",
    ),
    "S11": (
        "vivre avec l'absence de quelqu'un qu'on aime",
        "mon grand-père me manque",
        "la première fête sans eux",
        "pourquoi il faut parler du deuil",
    ),
    "S12": (
        "jeune maman et fatiguée : c'est normal",
        "prendre soin de ma mère et de moi",
        "l'exil : comment on s'habitue",
        "après la retraite, je me suis retrouvé",
        "le jeune papa aussi a besoin de soutien",
    ),
    "cooking": (
        "un tajine de légumes tout simple",
        "les msemen du matin, étape par étape",
        "une soupe rapide pour les jours froids",
        "une salade en dix minutes",
        "un gâteau sans four",
    ),
    "football": (
        "le match du quartier à {city}",
        "qui va gagner le derby ?",
        "un exercice facile avec le ballon",
        "le plus beau but de la semaine",
        "souvenirs de la Coupe du monde en famille",
    ),
    "comedy": (
        "quand ta mère t'appelle depuis la cuisine",
        "les passagers qu'on croise dans le taxi",
        "quand la famille arrive sans prévenir",
        "mon chat et le nouveau tapis",
        "quand tu dis « j'arrive dans cinq minutes »",
    ),
    "music": (
        "un air tranquille à la guitare",
        "la musique de rue à {city}",
        "une vieille chanson que j'aime",
        "j'ai appris la darbouka en un mois",
        "un rap doux sur le quartier",
    ),
    "city": (
        "petit tour à {city} au coucher du soleil",
        "le meilleur café de {city}",
        "le marché du matin à {city}",
        "le train depuis {city}, vu de la fenêtre",
        "{city} sous la pluie",
    ),
}
HEAVY: Final = (
    "parler d'un traumatisme, sans détails",
    "quand la tristesse dure : des signes à connaître",
    "harcelé à l'école, je raconte",
    "les nouvelles difficiles et ce qu'elles nous font",
    "le divorce de mes parents et ce qu'il a laissé",
)
FAMILIES: Final = {
    "despair": (
        "tout est devenu gris et personne ne le voit",
        "fatiguée de sourire pour les autres",
        "après toi, plus rien ne fait plaisir",
        "la nuit est longue et le cœur lourd",
        "rien ne changera",
    ),
    "body": (
        "compare-toi à elle : qui est la plus belle ?",
        "pourquoi mon corps n'est pas comme le leur",
        "avant et après, regardez la différence",
        "le miroir me dit toujours non",
    ),
    "aggression": (
        "regardez comme il pleure mdr",
        "riez avec moi de ce monsieur",
        "ceux qui ont peur de tout, ha ha",
        "sa façon de parler, trop drôle",
    ),
    "self_diagnosis": (
        "cinq signes que tu as cette maladie",
        "réponds à trois questions et découvre ton trouble",
        "si tu fais ça, tu es malade",
        "quiz : quel trouble as-tu ?",
    ),
}
